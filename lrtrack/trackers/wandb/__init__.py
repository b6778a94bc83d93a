"""Weights & Biases: each run written by a process of its own, read back through `wandb.Api`.

place.py    where a run goes, out of the environment and W&B's settings files
access.py   which variables and files decide how the server is reached, and as whom
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
from lrtrack.trackers.shared_runs import Phase
from lrtrack.trackers.wandb import destination
from lrtrack.trackers.wandb.client_settings import ACCESS
from lrtrack.trackers.wandb.open_run import Guard


class WandbTracker:
    """Weights & Biases, wherever W&B's own environment variables and settings files say.

    Args:
        run: a run of the user's that is to be joined though it is not `wandb.run`, as one that
            `wandb.init(reinit="create_new")` has opened; None: `wandb.run`, if that is open.
    """

    name = "wandb"
    portable = True
    access = ACCESS

    def __init__(self, run: Any = None) -> None:
        self._run = run

    def active(self) -> bool:
        """Whether `wandb.init()` is open in this process."""
        return self._open() is not None

    def _open(self) -> Any:
        return active_run() if self._run is None or _is_over(self._run) else self._run

    def open_run_hint(self) -> str | None:
        """Which run is open in this process and not joined, and how to join it; None: none."""
        run = None if self._open() is not None else _other_run()
        if run is None:
            return None
        return (
            f"The W&B run {run.name or run.id} is open and is not joined, because it is not "
            "wandb.run. To join it: track(…, tracker=lrtrack.trackers.wandb.WandbTracker(run))."
        )

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
        run = self._open()
        if run is not None:
            return destination.joined(run)
        return destination.own(experiment, default)

    def child_target(self, target: Target) -> Target:
        """A run beside the open one of `target`, in its group, which lrtrack opens and closes."""
        return destination.child(self._open(), target)

    def earlier_phases(self, prefix: str) -> tuple[int, tuple[Phase, ...]]:
        """The first step of a new block in the open run, and the phases before it there."""
        return destination.earlier(self._open(), prefix)

    def separate_target(self, experiment: str | None, default: str = "lrtrack") -> Target:
        """A new run whatever is active; without a word of the project, in the active run's.

        Raises:
            UsageError: it would go online, and there is no API key.
        """
        run = self._open()
        return destination.apart(
            None if run is None else destination.joined(run), experiment, default
        )

    def guard(self, gate: Path, deliver: Callable[[], None]) -> Guard | None:
        """Guard the step counter of the user's active run, to be called where one is joined."""
        run = self._open()
        return None if run is None else Guard(run, gate, deliver)

    def renew_target(self, target: Target) -> Target:
        """The target with this process's own settings, for whoever delivers the run later."""
        return destination.renewed(target)

    def sink(self, run: Run, target: Target, remote_id: str | None) -> Sink | None:
        """The writing half for `run`; None where W&B is switched off."""
        if destination.mode(destination.recorded(target)) == "disabled":
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
    return None if run is None or _is_over(run) else run


def _is_over(run: Any) -> bool:
    return bool(getattr(run, "_is_finished", False))


def _other_run() -> Any:
    """The latest run that is open in this process without being `wandb.run`; None: none."""
    try:
        setup = vars(sys.modules["wandb.sdk.wandb_setup"])["_singleton"]
        return setup.most_recent_active_run
    except (AttributeError, KeyError):  # W&B is not loaded, or is not as expected inside
        return None


def base_url() -> str | None:
    """The server's address as the environment has it, without credentials."""
    return redact(os.environ.get("WANDB_BASE_URL", "")) or None
