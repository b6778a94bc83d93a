"""The open run: what `with lrtrack.track(…) as run` gives."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Mapping
from typing import Any

from lrtrack.capture.step_capture import OnStep, StepCapture
from lrtrack.errors import JournalError, UsageError, warn
from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run
from lrtrack.shipping.cursor import Cursor
from lrtrack.shipping.progress import cursors, journal_size, wait
from lrtrack.shipping.spawn import Courier
from lrtrack.tracking.live_summary import Summing
from lrtrack.tracking.user_metrics import numbers

#: How many forks this process is away from its first ancestor: asking the system for the process's
#: id at each step would take longer.
_generation = 0


class TrackedRun:
    """A run that is being recorded; made by `track()`, not by hand."""

    def __init__(
        self,
        run: Run,
        capture: StepCapture,
        layout: Layout,
        journal: JournalWriter | None,
        courier: Courier,
        flush_timeout: float,
        recorded: int = -1,
    ) -> None:
        self._run = run
        self._capture = capture
        self._layout = layout
        self._journal = journal
        self._courier = courier
        self._flush_timeout = flush_timeout
        self._recorded = recorded
        self._generation = _generation
        self._last_time: float | None = None
        self._id: str | None = None
        self._warned = False
        self._refused: set[str] = set()
        self._ended = False
        self._summing: Summing | None = None

    @property
    def step(self) -> int:
        """The optimizer step just done, counted from 0; -1 before the first."""
        return self._capture.step

    @property
    def id(self) -> str:
        """The run's id in its (first) tracker, once that is known; else lrtrack's own.

        A run that lrtrack opens gets its tracker's id in the background: the first look waits for
        it, at most `flush_timeout` seconds. What was returned once stays.
        """
        first = self._run.targets[0] if self._run.targets else None
        if self._id is None and first is not None and first.joined:
            self._id = first.run_id
        if self._id is None:
            remote = self._await_remote()
            self._id = (remote.remote_id if remote is not None else None) or self._run.id
        return self._id

    @property
    def url(self) -> str | None:
        """Where people can look at the run; None where its tracker has no page."""
        if self._run.targets and self._run.targets[0].url is not None:
            return self._run.targets[0].url
        remote = self._await_remote()
        return remote.url if remote is not None else None

    def log(self, mapping: Mapping[str, Any] | None = None, **metrics: Any) -> None:
        """Record metrics at the step just done, at step 0 before the first.

        A metric that the step has already is replaced. A value that is no number is left out with
        a warning: a typing mistake in an evaluation must not end a training.

        Args:
            mapping: names that are no Python identifiers, such as `{"val/loss": 0.1}`.
            **metrics: numbers or one-element tensors; a DTensor on every rank, or on none.
        """
        found = numbers({**(mapping or {}), **metrics}, self._run.prefix, self._refused)
        if f"{self._run.prefix}loss" in found and self._capture.counts.counting:
            # The count of backward calls belonged to the loss that is replaced.
            found.setdefault(f"{self._run.prefix}loss_count", 0.0)
        if self._journal is not None and found and self.ours():
            when = self._last_time or time.time()
            self._journal.amend(max(self.step, 0), when, found)

    def loss(self, last: int | None = None) -> float | None:
        """Mean of the latest recorded losses, also after the block.

        Losses that a GPU still computes are waited for: ask every so many steps, not each time.

        Args:
            last: over how many steps; None: over the last 5 % of all records, which is `loss_final`
                after the block.

        Returns:
            None where no loss is recorded, as on all ranks but the first; NaN where one of them is.

        Raises:
            UsageError: `last` is under 1.
        """
        if last is not None and last < 1:
            raise UsageError(f"last is a number of steps, at least 1; got {last}")
        summing = self._summed()
        return None if summing is None else summing.loss(last)

    def summary(self) -> dict[str, float]:
        """The latest value of each metric, with `loss_final` and `loss_best`, also after the block.

        Waits for a GPU as `loss` does. Empty on all ranks but the first.
        """
        summing = self._summed()
        return {} if summing is None else summing.summary()

    def flush(self) -> None:
        """Wait until everything recorded so far is delivered, at most `flush_timeout` seconds."""
        if self._journal is not None and self.ours():
            self._journal.event("flush")
            size = journal_size(self._journal.path)
            self._courier.hurry()
            names = [target.tracker for target in self._run.targets]
            held = {name for name in names if self._layout.gate(self._run.id, name).exists()}
            self._wait(size, lambda state: state.offset >= size, self._flush_timeout, held)

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints: which run this is, and how many steps it has made.

        Those steps are in the journal's file when this returns: whoever goes on from the
        checkpoint will not make them again, even if this process is killed at once.
        """
        if self._journal is not None and self.ours():
            self._journal.flush()
        return {"id": self.id, "step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting where the checkpoint was taken; see `track(resume=…)` for the run.

        Args:
            state: what `state_dict` gave.
        """
        self._capture.step = int(state["step"])

    def recorder(self) -> OnStep:
        """What takes a step's record from the capture, in as little time as possible."""
        generation, recorded, prefix = self._generation, self._recorded, self._run.prefix
        append = self._journal.appended if self._journal is not None else None

        def record(step: int, when: float, metrics: dict[str, Any]) -> None:
            if generation != _generation or step <= recorded or append is None:
                return
            self._last_time = when
            if prefix:
                metrics = {prefix + name: value for name, value in metrics.items()}
            append((step, when, metrics))

        return record

    def on_plateau(self, value: float) -> None:
        """Take the `value` of the metric that a plateau schedule was given."""
        self.log(plateau_metric=value)

    def tick(self) -> None:
        """A few times a second, off the training thread: keep delivery going, report trouble."""
        self._courier.queue()
        self._courier.look()
        if not self._warned:
            for state in self._states():
                # One lost answer is no news: each request is sent once, and soon again.
                if state.error is not None and (state.given_up or state.failures > 1):
                    self.report(state)

    def report(self, state: Cursor) -> None:
        """Say once that delivery does not go on, and why by its `state`."""
        if self._warned:
            return
        self._warned = True
        warn(
            f"lrtrack cannot deliver at present: {self._trouble(state)}. Training goes on; the "
            f"steps are kept in {self._layout.root} and delivered later, or by `lrtrack sync`."
        )

    def _trouble(self, state: Cursor) -> str:
        """What `state` says, without the advice to set what is set by now."""
        news = self._courier.news() if state.refused else ""
        return f"{state.error}: {news}" if news else str(state.trouble)

    def finish(self, timeout: float, later: Collection[str] = ()) -> None:
        """Wait for the delivery of a run whose journal is closed.

        Args:
            timeout: seconds to wait at most.
            later: names of trackers that are not waited for.
        """
        if self._journal is None:
            return
        self._ended = True
        size = journal_size(self._journal.path)

        def delivered(state: Cursor) -> bool:
            return state.closed and state.offset >= size

        self._wait(size, delivered, timeout, later)
        states = self._states(later)
        for state in states:
            if state.missing is not None and delivered(state):
                _report_missing(state.missing)
        late = [state for state in states if not delivered(state)]
        for state in late:
            if state.error is not None:
                self.report(state)
        if late and timeout > 0 and not self._warned:
            self._warned = True
            warn(
                f"lrtrack has not delivered everything within {timeout:g} s; that goes on in the "
                f"background, and the steps are kept in {self._layout.root} until it is done."
            )

    def deliver(self) -> None:
        """Bring to the trackers what is recorded by now: the user is about to end a joined run."""
        if self._ended:
            self._courier.hurry()
            self.finish(self._flush_timeout)
        else:
            self.flush()

    def _wait(self, size: int, done: Any, timeout: float, later: Collection[str] = ()) -> None:
        wait(lambda: self._states(later), done, size, timeout, self._courier.look)

    def _states(self, without: Collection[str] = ()) -> list[Cursor]:
        asked = [t for t in self._run.targets if t.delivers and t.tracker not in without]
        return cursors(self._layout, self._run.id, asked)

    def _await_remote(self) -> Cursor | None:
        if self._journal is None or not self.ours():
            return None
        states = self._states()[:1]
        if states and states[0].remote_id is None:
            opened = lambda state: bool(state.remote_id or state.error)  # noqa: E731
            wait(lambda: self._states()[:1], opened, 0, self._flush_timeout)
            states = self._states()[:1]
        return states[0] if states else None

    def _summed(self) -> Summing | None:
        """What the journal has by now; None without one, or where it cannot be read."""
        if self._journal is None or not self.ours():
            return None
        try:
            self._journal.flush()
            if self._summing is None:
                self._summing = Summing(self._journal.path, self._run.prefix)
            self._summing.look()
        except (JournalError, OSError) as error:
            warn(f"lrtrack cannot read {self._journal.path} back: {error}")
            return None
        return self._summing

    def ours(self) -> bool:
        """Whether this process writes the run: a forked child has the hooks, not the journal."""
        return self._generation == _generation


#: Parts of runs of which this process has reported already that trackers do not have them.
_reported: set[str] = set()


def _report_missing(missing: str) -> None:
    """Say once a process that runs are stored without a part; runs have ids of 32 digits."""
    kind = re.sub(r"[0-9a-f]{32}", "", missing)
    if kind not in _reported:
        _reported.add(kind)
        warn(
            f"lrtrack stored the run, without {missing}. Its steps and its end are in the tracker, "
            "and reports read them there. Later runs are not warned about."
        )


def _born() -> None:
    global _generation
    _generation += 1


os.register_at_fork(after_in_child=_born)
