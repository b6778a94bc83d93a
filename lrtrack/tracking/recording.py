"""One run while it is recorded: capture in front, journal in the middle, upload behind.

The `with` block opens and closes it, hooks and callbacks write to it, and users see a `TrackedRun`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from lrtrack.capture.step_capture import OnStep
from lrtrack.clock import Clock
from lrtrack.errors import JournalError, warn
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import TRAIN, Run, State
from lrtrack.shipping.courier import Courier
from lrtrack.shipping.credentials import Snapshot
from lrtrack.trackers.base import Tracker
from lrtrack.tracking import captures
from lrtrack.tracking.closing import bounded, run_all
from lrtrack.tracking.journal_location import open_journal
from lrtrack.tracking.live_diagnoses import LiveDiagnoses
from lrtrack.tracking.live_reports import LiveReports
from lrtrack.tracking.live_schedule import LiveSchedule
from lrtrack.tracking.live_summary import LiveSummary
from lrtrack.tracking.open_run_guards import OpenRunGuards
from lrtrack.tracking.options import Options, without_objects
from lrtrack.tracking.rank_losses import exchange_of
from lrtrack.tracking.reactions import Reactions
from lrtrack.tracking.remote_run import RemoteRun
from lrtrack.tracking.resume import ResumedRun
from lrtrack.tracking.returns import Returns
from lrtrack.tracking.schedule_events import ScheduleEvents
from lrtrack.tracking.succession import Succession
from lrtrack.tracking.upload_monitor import UploadMonitor
from lrtrack.tracking.user_metrics import numbers

#: How many forks this process is away from its first ancestor: quicker to look up than its id.
_fork_count = 0


class Recording:
    """Owns the capture, the journal and the courier of one run.

    Attributes:
        run, capture: the run, and what counts its optimizer's steps.
        clock: shows the times of the run; those of its steps are readings without its offset.
        reactions, reports: what the user wants after a diagnosis, and the diagnoses so far.
        succession: follows schedulers that replace the first one.
        suggestions: learning rates that a run of kind `FIND` suggests, set before it is closed.

    Args:
        options: the options of the block.
        resumed: the run and what its journal already holds.
        trackers: where the run is uploaded to.
        snapshot: the environment in which the block was entered.
    """

    def __init__(
        self,
        options: Options,
        resumed: ResumedRun,
        trackers: list[Tracker],
        snapshot: Snapshot,
    ) -> None:
        self.run: Run = resumed.run
        self.suggestions: dict[str, float] = {}
        self._options, self._layout = without_objects(options), resumed.layout
        self._trackers, self._snapshot = trackers, snapshot
        self._journal: JournalWriter | None = None
        self._uploads: UploadMonitor | None = None
        self._summary: LiveSummary | None = None
        self._guards, self._remote = OpenRunGuards(), RemoteRun(self.run)
        self._last_time: float | None = None
        self._rejected_names, self._closed, self._fork_count = set[str](), False, _fork_count
        self.clock = Clock(not_before=max(self.run.started, resumed.latest))
        self.capture = captures.capture_of(options, self.amend, self.clock.read)
        self._ranks = exchange_of(options, self.capture)
        self._returns = Returns(options, resumed, self.capture, self.clock)
        self.capture.loads.on_return = self._return
        self._diagnoses = LiveDiagnoses(self.run, self.capture, options.capture_loss, resumed)
        self._schedule = LiveSchedule(self.run, options.optimizer, options.scheduler)
        self.reactions = Reactions(self.capture, frozenset(options.stop_on), options.on_diagnosis)
        self.reports = LiveReports(self._diagnoses, self._schedule, self.reactions)
        self._events = ScheduleEvents(self.run, self._schedule, named=bool(options.name))
        observers = self._schedule, self._diagnoses, self._events
        self.succession = Succession(resumed, self.capture, *observers)

    def open(self, is_abandoned: Callable[[], bool]) -> None:
        """Open the journal, start the upload and install the hooks.

        The journal's thread asks `is_abandoned` whether the block was left without notice.
        """
        hashes = self._snapshot.credentials
        self._layout, self._journal = open_journal(
            self._layout, self.run, hashes, self._tick, self._observe, is_abandoned, self.clock
        )
        if self._journal is not None:
            self._returns.journal, self._diagnoses.journal = self._journal, self._journal.path
            in_process = {t.name: t for t in self._trackers if not t.portable}
            courier = Courier(self._layout, self.run.id, in_process, self._snapshot)
            self._uploads = UploadMonitor(self.run, self._layout, self._journal.path, courier)
            captures.connect(self.capture, self._journal, self.recorder)
            self._guards.enter(self.run, self._trackers, self._layout, self._upload_now)
            self._uploads.start()
        self._ranks.begin(self.capture, self._journal)
        if self._options.kind == TRAIN:  # the range test records its steps itself
            self.reactions.attach()  # first, so that a step that it prevents has not begun
            self.capture.attach()

    def close(self, state: State, timeout: float) -> None:
        """End the run and wait for its upload at most `timeout` seconds."""
        if self._journal is None or self._uploads is None or not self.is_owner():
            return
        try:
            self._returns.store_pace()
            self._ranks.catch_up(has_failed=state is State.FAILED)
            self._journal.flush()
            self._journal.close(state, **self._results(self._journal, state))
            if self._is_stuck():
                return
            skipped = self._guards.leave()
            self._closed = True
            # On a full disk nothing can be uploaded now, so there is nothing to wait for.
            self._uploads.finish(0.0 if self._journal.kept_in else timeout, skipped)
        except Exception as error:  # it must not replace the user's own exception
            warn(f"lrtrack could not end the run properly: {error!r}.")

    def discard(self) -> bool:
        """Delete a run without steps, if no tracker has it yet; returns whether that was so."""
        if self._journal is None or self._uploads is None or not self.is_owner():
            return False
        if self.capture.step >= 0 or self._is_stuck() or not self._uploads.withdraw():
            return False
        self._journal.release(discard=True)
        return True

    def release(self, *, failed: bool) -> None:
        """Remove the hooks and close what is still open, without waiting; it can be repeated.

        If `close` has not written how the run ended, that is FINISHED, or FAILED if it `failed`.
        """
        state = State.FAILED if failed else State.FINISHED
        actions: list[Callable[[], object]] = [self.reactions.detach]
        actions.append(partial(self.capture.detach, failed=failed))
        if self.is_owner():
            actions.append(self._ranks.finish)
            if self._journal is not None:
                actions.append(partial(self._journal.close, state, wait=False))
            leaving = self._guards.leaving()
            actions += map(bounded, leaving) if self._is_stuck() else leaving
            if self._uploads is not None:
                actions.append(self._uploads.stop)
        run_all([*actions, self._schedule.forget, self.capture.forget])

    def recorder(self, append: Callable[[Any], object] | None = None) -> OnStep:
        """The function that takes a step's record, in as little time as possible.

        `append` takes its row; if it is None, the journal adds the row.
        """
        fork_count, resumed_at = self._fork_count, self._returns.last_step
        prefix, is_whole = self.run.prefix, append is None
        if append is None and self._journal is not None:
            append = self._journal.appended

        def record(step: int, when: float, metrics: dict[str, Any]) -> None:
            if fork_count != _fork_count or step <= resumed_at or append is None:
                return
            self._last_time = when
            if prefix:
                metrics = {prefix + name: value for name, value in metrics.items()}
            append((step, when, metrics))

        return self._ranks.holding(record, self.capture, is_whole=is_whole)

    def amend(self, user_metrics: Mapping[str, Any]) -> None:
        """Add metrics to the step just done, or to step 0 before the first."""
        prefix = self.run.prefix
        metrics = numbers(user_metrics, prefix, self._rejected_names)
        if f"{prefix}loss" in metrics and self.capture.counts.counting:
            # The count of backward calls belonged to the loss that is replaced.
            metrics.setdefault(f"{prefix}loss_count", 0.0)
        if self._journal is not None and metrics and self.is_owner():
            when = self._last_time or self.clock.read()
            captures.amend(self.capture, self._journal, when, metrics)

    def tracker_id(self) -> str:
        """The run's id in its first tracker; lrtrack's own id if it cannot be known in time."""
        return self._remote.id(self._first_cursor)

    def url(self) -> str | None:
        """The address of the run's page in its first tracker, if that has one."""
        return self._remote.url(self._first_cursor)

    def summary(self) -> LiveSummary | None:
        """The summary of what is in the journal now; None if there is none or it is unreadable."""
        if self._journal is None or not self.is_owner():
            return None
        try:
            self.write_to_disk()
            if self._summary is None:
                self._summary = LiveSummary(self._journal.path, self.run.prefix)
            self._summary.update()
        except (JournalError, OSError) as error:
            warn(f"lrtrack cannot read {self._journal.path} back: {error}")
            return None
        return self._summary

    def write_to_disk(self) -> None:
        """Write everything recorded so far to the journal's file."""
        if self._journal is not None and self.is_owner():
            captures.publish(self.capture)
            self._ranks.catch_up()
            self._returns.store_pace()
            self._journal.flush()

    def flush(self) -> None:
        """Wait until everything recorded so far is uploaded, at most `flush_timeout` seconds."""
        if self._journal is not None and self._uploads is not None and self.is_owner():
            self.write_to_disk()
            self._journal.event("flush")
            self._uploads.flush(self._options.flush_timeout)

    def has_steps(self) -> bool:
        """Whether this process has recorded at least one step of the run, and can show it."""
        is_readable = self._journal is not None and not self._is_stuck()
        return is_readable and self.is_owner() and self.capture.step >= 0

    def _is_stuck(self) -> bool:  # so would be whoever looks at the journal's directory
        return self._journal is not None and self._journal.is_stuck

    def is_owner(self) -> bool:
        """Whether this process writes the run: a forked child has the hooks, not the journal."""
        return self._fork_count == _fork_count

    def _results(self, journal: JournalWriter, state: State) -> dict[str, Any]:
        """What is known only at the end of the run; prints the diagnoses."""
        if self._options.kind != TRAIN or self._is_stuck():
            return {"suggestions": self.suggestions} if self.suggestions else {}
        try:
            diagnoses = self.reports.at_end(state)
        except Exception as error:
            warn(f"lrtrack could not diagnose the run: {error!r}.")
            return {}
        schedule = self._events.at_end(journal, complete=self._diagnoses.is_complete)
        return {"diagnoses": diagnoses, **schedule, **captures.device_entry(self.capture)}

    def _first_cursor(self) -> Any:
        if self._uploads is None or not self.is_owner():
            return None
        return self._uploads.first_cursor(self._options.flush_timeout)

    def _upload_now(self) -> None:
        """Upload everything recorded so far, because the user is about to end a joined run."""
        if self._closed and self._uploads is not None:
            self._uploads.hurry()
            self._uploads.finish(self._options.flush_timeout)
        else:
            self.flush()

    def _return(self, step: int, last: int, named: bool) -> None:
        """Called before `step` is made, if a checkpoint was loaded after the step before."""
        if not self.is_owner():
            return
        self._schedule.declare(captures.parts(self.capture), step)
        latest = None if self._last_time is None else self._last_time + self.clock.offset
        if self._returns.note(step, last, named, latest):
            self._last_time = None
            if self._journal is not None:
                captures.connect(self.capture, self._journal, self.recorder)
            self._diagnoses.note_return(step)

    def _observe(self, steps: Any, times: Any, metrics: Any) -> None:
        """Called by the journal's thread with rows that it is about to write."""
        self._diagnoses.add(steps, metrics, times)
        self._schedule.add(steps, metrics)

    def _tick(self) -> None:
        """Called by the journal's thread a few times a second."""
        self.clock.look()
        self._returns.store_pace()
        if self._options.kind == TRAIN and self._journal is not None:
            self._events.write_news(self._journal, self.capture.step + 1)
            self.reports.tick(self._journal)
        if self._uploads is not None:
            self._uploads.tick()
        self._guards.tick()


def _count_fork() -> None:
    global _fork_count
    _fork_count += 1


os.register_at_fork(after_in_child=_count_fork)
