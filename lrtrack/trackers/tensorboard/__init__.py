"""TensorBoard: event files that other programs wrote, read; lrtrack writes none.

folders.py     the folders with event files below a log directory
event_file.py  the records of one file, up to where it is damaged
contents.py    the metrics and settings in the files of one run
reading.py     runs as histories
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from lrtrack.errors import UsageError
from lrtrack.records import History, Run, Target
from lrtrack.trackers.base import Progress, Query, Sink

NAME = "tensorboard"


class TensorBoardTracker:
    """Event files below a log directory, which is the experiment."""

    name = NAME
    portable = True
    only_reads = (
        ", from event files that other programs wrote. Fix: record with mlflow, wandb or local; "
        "`lrtrack compare --tracker tensorboard LOGDIR` reads event files."
    )

    def active(self) -> bool:
        """Always False: lrtrack joins no writer of event files."""
        return False

    def status(self) -> str:
        """How event files are read, and what is missing for that."""
        if importlib.util.find_spec("tensorboard") is None:
            return "not installed. Fix: pip install 'lrtrack[tensorboard]'"
        return "reads event files: lrtrack compare --tracker tensorboard LOGDIR"

    def target(self, experiment: str | None, default: str) -> Target:
        """Refuse to place a run here.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"The tracker {self.name!r} only reads runs{self.only_reads}")

    def sink(self, run: Run, target: Target, remote_id: str | None) -> Sink | None:
        """None, as nothing is written."""
        return None

    def histories(self, query: Query, progress: Progress | None = None) -> Iterator[History]:
        """Read the runs below a log directory, newest first; warn about damaged files.

        Raises:
            NothingFound: there is no such folder, or no event file below it.
            MissingPackage: tensorboard is not installed.
            UsageError: there is a raw filter.
        """
        from lrtrack.trackers.tensorboard.reading import read

        return read(query, progress)
