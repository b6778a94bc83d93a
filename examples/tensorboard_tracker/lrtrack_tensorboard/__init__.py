"""lrtrack runs as TensorBoard event files, below `TENSORBOARD_LOGDIR` or else `runs/`."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from lrtrack.errors import NothingFound, unknown
from lrtrack.trackers import History, Progress, Query, Run, Sink, Target, no_raw_filters


class TensorBoardTracker:
    """One folder per experiment, and in it one per run: `EXPERIMENT/NAME-ID`."""

    name = "tensorboard"
    portable = True  # `Run` and `Target` hold everything that a sink needs

    def active(self) -> bool:
        return False

    def status(self) -> str:
        return f"{logdir()}, {len(_experiments(logdir()))} experiments"

    def target(self, experiment: str | None, default: str = "lrtrack") -> Target:
        """The folder as an absolute path, as the shipper works in another directory."""
        return Target(self.name, str(logdir()), experiment or default)

    def sink(self, run: Run, target: Target, remote_id: str | None) -> Sink | None:
        """The writing half; importing it here loads torch only in processes that write."""
        from lrtrack_tensorboard.sink import TensorBoardSink

        own = f"{_quoted(target.experiment or 'lrtrack')}/{_quoted(run.name)[:60]}-{run.id[:8]}"
        return TensorBoardSink(run, target, remote_id or target.run_id or own)

    def histories(self, query: Query, progress: Progress | None = None) -> Iterator[History]:
        """Read the runs of an experiment back, newest first; None: those of all experiments."""
        from lrtrack_tensorboard.reading import histories

        no_raw_filters(self.name, query.raw_filters)
        root = Path(query.uri) if query.uri else logdir()
        known = _experiments(root)
        if query.experiment is None:
            return histories(root, list(known.values()), progress)
        if query.experiment not in known:
            raise NothingFound(f"{unknown('experiment', query.experiment, known)} ({root})")
        return histories(root, [known[query.experiment]], progress)


def logdir() -> Path:
    return Path(os.environ.get("TENSORBOARD_LOGDIR") or "runs").absolute()


def _experiments(root: Path) -> dict[str, Path]:
    return {unquote(path.name): path for path in root.glob("*") if path.is_dir()}


def _quoted(name: str) -> str:  # the name of one folder, also for names with slashes or dots
    return quote(name, safe=" ").replace(".", "%2E" if not name.strip(".") else ".")
