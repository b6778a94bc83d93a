"""lrtrack runs as TensorBoard event files, below `TENSORBOARD_LOGDIR` or else `runs/`."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from lrtrack.errors import NothingFound, unknown
from lrtrack.filters import no_raw_filters
from lrtrack.records import History, Run, Target
from lrtrack.trackers.base import Progress, Query, Sink


class TensorBoardTracker:
    """A folder an experiment, in it one a run: `EXPERIMENT/NAME-ID`, as TensorBoard shows it."""

    name = "tensorboard"
    portable = True  # all that a sink needs is in `Run` and `Target`

    def active(self) -> bool:
        return False

    def status(self) -> str:
        return f"{logdir()}, {len(_experiments(logdir()))} experiments"

    def target(self, experiment: str | None, default: str = "lrtrack") -> Target:
        """The folder as the training process sees it; the shipper works in another directory."""
        return Target(self.name, str(logdir()), experiment or default)

    def sink(self, run: Run, target: Target, remote_id: str | None) -> Sink | None:
        """The writing half; torch is imported here, where somebody writes to this tracker."""
        from lrtrack_tensorboard.sink import TensorBoardSink

        own = f"{_quoted(target.experiment or 'lrtrack')}/{_quoted(run.name)[:60]}-{run.id[:8]}"
        return TensorBoardSink(run, target, remote_id or target.run_id or own)

    def histories(self, query: Query, progress: Progress | None = None) -> Iterator[History]:
        """Read an experiment's runs back, newest first; of all experiments without a name."""
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


def _quoted(name: str) -> str:  # as one folder, whatever is in it
    return quote(name, safe=" ").replace(".", "%2E" if not name.strip(".") else ".")
