"""Weights & Biases: each run written by a process of its own, read back through `wandb.Api`.

place.py    where a run goes, out of the environment and W&B's settings files
words.py    config, tags, notes: what people see
writer.py   the process that holds one W&B run: the only place that calls `wandb.init`
guard.py    keeping the step counter of a user's own run as he wants it
service.py  the service of the user's process, which holds his open runs
taken.py    what W&B has of a run already
sink.py     the other end of that process: what the shipper calls
api.py      asking W&B's API
reading.py  reading a project
rows.py     history rows as columns
starting.py registering a sweep
publishing.py keeping a report beside the runs
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lrtrack.records import History, Run, Target
from lrtrack.settings import redact
from lrtrack.trackers.base import Progress, Publication, Query, Remote, Sink
from lrtrack.trackers.wandb import place
from lrtrack.trackers.wandb.guard import Guard


class WandbTracker:
    """Weights & Biases, wherever W&B's own environment variables and settings files say."""

    name = "wandb"
    portable = True

    def active(self) -> bool:
        """Whether `wandb.init()` is open in this process."""
        return active_run() is not None

    def status(self) -> str:
        """The server that new runs would go to, and whose account is used there."""
        from lrtrack.trackers.wandb.api import status

        return status()

    def target(self, experiment: str | None, default: str = "lrtrack") -> Target:
        """The user's active run, else a new run in `experiment` or where W&B itself would go.

        W&B is only asked where the user has imported it already: the training process need not
        pay for the import.

        Raises:
            UsageError: runs would go online, and there is no API key.
        """
        run = active_run()
        if run is not None:
            return place.joined(run)
        return place.own(experiment, default)

    def apart(self, experiment: str | None, default: str = "lrtrack") -> Target:
        """A new run whatever is active; without a word of the project, in the active run's.

        Raises:
            UsageError: it would go online, and there is no API key.
        """
        run = active_run()
        return place.apart(None if run is None else place.joined(run), experiment, default)

    def watch(self, gate: Path, deliver: Callable[[], None]) -> Guard | None:
        """Guard the step counter of the user's active run, to be called where one is joined."""
        run = active_run()
        return None if run is None else Guard(run, gate, deliver)

    def sink(self, run: Run, target: Target, remote_id: str | None) -> Sink | None:
        """The writing half for `run`; None where W&B is switched off."""
        if place.mode(target.environment) == "disabled":
            return None
        from lrtrack.trackers.wandb.sink import WandbSink

        return WandbSink(run, target, remote_id)

    def histories(self, query: Query, progress: Progress | None = None) -> Iterator[History]:
        """Read a project's runs that lrtrack wrote, newest first."""
        from lrtrack.trackers.wandb.reading import read

        return read(query, progress)

    def publish(self, publication: Publication, query: Query) -> Remote:
        """Put a report into the project's run `lrtrack report`, as a panel and as files."""
        from lrtrack.trackers.wandb.publishing import publish

        return publish(publication, query)


def active_run() -> Any:
    """The run that the user has open in this process; None without one, or without W&B."""
    run = getattr(sys.modules.get("wandb"), "run", None)
    if run is None or getattr(run, "_is_finished", False):
        return None
    return run


def base_url() -> str | None:
    """The server's address as the environment has it, without credentials."""
    return redact(os.environ.get("WANDB_BASE_URL", "")) or None
