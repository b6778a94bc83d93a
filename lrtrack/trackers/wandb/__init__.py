"""Weights & Biases: a separate process writes each run; `wandb.Api` reads runs back.

destination.py      the server and project that a run goes to
client_settings.py  the variables and files that decide how W&B's client connects
login.py            whether there is an API key
metadata.py         config, tags and notes of a run
sink.py             the sink, which drives a writer process
writer_process.py   writer processes, of which one takes several runs in turn
writer.py           the writer process, which holds one W&B run at a time
open_run.py         waiting with uploads until the user's own steps in an open run are safe
service.py          the W&B service of the user's process, which holds its open runs
shutdown.py         a limit on the wait for W&B's service when Python ends
uploaded_rows.py    the rows that W&B has already
arrival.py          checks that the server has what was sent
history_file.py     the columnar file of a run with several blocks
api.py              requests to W&B's API
account.py          the account, asked without W&B
reading.py          reading a project
listing.py          the runs of a project that a query selects
logged_runs.py      runs that lrtrack did not record
description.py      the description of a run, read back from its config
history_rows.py     history rows as columns
sweeps.py           registering a sweep
publishing.py       storing a report beside the runs
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lrtrack.records import History, Run, Target
from lrtrack.trackers.base import Progress, Publication, Query, Remote, RowAdvice, Sink
from lrtrack.trackers.hooks import Place
from lrtrack.trackers.shared_runs import Phase
from lrtrack.trackers.wandb import destination
from lrtrack.trackers.wandb.client_settings import ACCESS
from lrtrack.trackers.wandb.open_run import OpenRunGuard

#: From https://docs.wandb.ai/models/track/limits (read in November 2026).
PER_MINUTE, PER_RUN = 1_000, 500_000
ROW_ADVICE = RowAdvice(
    PER_MINUTE,
    PER_RUN,
    f"This run has more rows than W&B recommends ({PER_MINUTE:,} a minute, {PER_RUN:,} in a run), "
    'so its pages there may be slow. Fix: track(wandb_rows="thin") sends fewer rows and keeps '
    "every peak; reports read all steps from history.parquet either way.",
)


class WandbTracker:
    """Weights & Biases, wherever W&B's environment variables and settings files say.

    Args:
        run: an open run to join although it is not `wandb.run`, for example one opened by
            `wandb.init(reinit="create_new")`; None: `wandb.run`, if that is open.
    """

    name = destination.NAME
    portable = True
    access = ACCESS
    row_advice = ROW_ADVICE

    def __init__(self, run: Any = None) -> None:
        self._run = run

    def active(self) -> bool:
        """Whether `wandb.init()` is open in this process."""
        return self._open() is not None

    def _open(self) -> Any:
        return active_run() if self._run is None or _is_over(self._run) else self._run

    def open_run_hint(self) -> str | None:
        """A message if a run is open in this process but not joined, with the way to join it."""
        run = None if self._open() is not None else _other_run()
        if run is None:
            return None
        return (
            f"The W&B run {run.name or run.id} is open but not joined, because it is not "
            "wandb.run. Fix: to join it, use "
            "track(…, tracker=lrtrack.trackers.wandb.WandbTracker(run))."
        )

    def status(self) -> str:
        """The server that new runs would go to, and the account there."""
        from lrtrack.trackers.wandb.api import status

        return status()

    def target(self, experiment: str | None, default: str = "lrtrack") -> Target:
        """The user's active run, else a new run in `experiment` or in W&B's own default project.

        W&B itself is asked only if the user has already imported it, to spare the training process
        the import.

        Raises:
            UsageError: the run would go online, but there is no API key.
        """
        run = self._open()
        if run is not None:
            return destination.open_target(run)
        return destination.new_target(experiment, default)

    def child_target(self, target: Target) -> Target:
        """A run in the same group as the open run of `target`; lrtrack opens and closes it."""
        return destination.child_target(self._open(), target)

    def earlier_phases(self, prefix: str) -> tuple[int, tuple[Phase, ...]]:
        """The first step of a new block in the open run, and the phases before it."""
        return destination.resume_point(self._open(), prefix)

    def separate_target(self, experiment: str | None, default: str = "lrtrack") -> Target:
        """A new run even if one is active; by default in the active run's project.

        Raises:
            UsageError: the run would go online, but there is no API key.
        """
        run = self._open()
        return destination.separate_target(
            None if run is None else destination.open_target(run), experiment, default
        )

    def guard(self, gate: Path, deliver: Callable[[], None]) -> OpenRunGuard | None:
        """Protect the step numbers of the user's active run; called when such a run is joined."""
        run = self._open()
        return None if run is None else OpenRunGuard(run, gate, deliver)

    def renew_target(self, target: Target) -> Target:
        """The target with the settings of this process, for an upload by another process."""
        return destination.renewed_target(target)

    def place_of(self, target: Target) -> Place | None:
        """The server and project of a run; None for one that is not online."""
        mode = destination.mode(destination.recorded_environment(target))
        if target.experiment is None or mode in ("offline", "disabled"):
            return None
        return Place(target.experiment, target.uri)

    def sink(self, run: Run, target: Target, remote_id: str | None) -> Sink | None:
        """The sink that writes `run`; None if W&B is switched off."""
        if destination.mode(destination.recorded_environment(target)) == "disabled":
            return None
        from lrtrack.trackers.wandb.sink import WandbSink

        return WandbSink(run, target, remote_id)

    def end_processes(self) -> None:
        """End the writer processes that wait for another run."""
        module = sys.modules.get("lrtrack.trackers.wandb.writer_process")
        if module is not None:
            module.end_idle()

    def histories(self, query: Query, progress: Progress | None = None) -> Iterator[History]:
        """Read the runs that lrtrack wrote into a project, newest first."""
        from lrtrack.trackers.wandb.reading import read

        return read(query, progress)

    def publish(self, publication: Publication, query: Query) -> Remote:
        """Store a report in the project's run `lrtrack report`, as a panel and as files."""
        from lrtrack.trackers.wandb.publishing import publish

        return publish(publication, query)


def active_run() -> Any:
    """The run that the user has open in this process; None without one, or without W&B."""
    run = getattr(sys.modules.get("wandb"), "run", None)
    return None if run is None or _is_over(run) else run


def _is_over(run: Any) -> bool:
    return bool(getattr(run, "_is_finished", False))


def _other_run() -> Any:
    """The latest run that is open in this process but is not `wandb.run`; None: there is none."""
    try:
        setup = vars(sys.modules["wandb.sdk.wandb_setup"])["_singleton"]
        return setup.most_recent_active_run
    except (AttributeError, KeyError):  # W&B is not loaded, or another version of it
        return None
