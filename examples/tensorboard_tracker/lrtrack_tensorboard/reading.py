"""Reading histories from folders of event files."""

from collections.abc import Iterator
from pathlib import Path

from lrtrack.trackers import History, Progress, State
from lrtrack_tensorboard import events, table


def histories(root: Path, experiments: list[Path], progress: Progress | None) -> Iterator[History]:
    """Read all runs in these folders, newest first."""
    folders = [folder for experiment in experiments for folder in experiment.iterdir()]
    stored = [(folder, events.read(folder)) for folder in folders if folder.is_dir()]
    runs = [
        (run, folder, contents)
        for folder, contents in stored
        if (run := contents.run()) is not None
    ]
    runs.sort(key=lambda item: item[0].started, reverse=True)
    for done, (run, folder, (points, notes)) in enumerate(runs, start=1):
        state = State(notes["state"])
        yield History(
            run,
            state,
            "tensorboard",
            **table.arrays(points),
            ended=None if state is State.RUNNING else notes["ended"],
            remote_id=folder.relative_to(root).as_posix(),
        )
        if progress is not None:
            progress(done, len(runs))
