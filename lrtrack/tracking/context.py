"""Entering and leaving the `with` block."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Never

import torch

from lrtrack.capture.accumulation import Weight
from lrtrack.capture.optimizers import rank, unwrap
from lrtrack.capture.step_capture import StepCapture
from lrtrack.errors import unknown, warn
from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import TRAIN, Run, State
from lrtrack.settings import read
from lrtrack.shipping.credentials import Snapshot
from lrtrack.shipping.spawn import Courier
from lrtrack.trackers import registry
from lrtrack.trackers.base import Tracker
from lrtrack.trackers.hooks import GuardsOpenRuns, RunGuard
from lrtrack.tracking import options as asked
from lrtrack.tracking.exit_guard import Exit, on_left
from lrtrack.tracking.journal_location import open_journal
from lrtrack.tracking.live_diagnoses import Diagnosing, tell
from lrtrack.tracking.resume import continued
from lrtrack.tracking.run import TrackedRun

#: Seconds to wait for delivery after Ctrl-C: whoever presses it wants the prompt.
INTERRUPTED = 1.0


def track(
    optimizer: Any,
    scheduler: Any = None,
    *,
    tracker: registry.Spec | None = None,
    experiment: str | None = None,
    name: str | None = None,
    group: str | None = None,
    seed: int | None = None,
    config: Any = None,
    tags: Mapping[str, str] | None = None,
    prefix: str = "",
    model: torch.nn.Module | None = None,
    norms: str = "global",
    every: int = 1,
    capture_loss: bool = True,
    resume: str | None = None,
    flush_timeout: float = 10.0,
    **misspelt: Never,
) -> Block:
    """Record learning rate, gradient norms and loss at each optimizer step of a `with` block.

    The loop inside stays as it is; training is the same, bit for bit, with and without.

    Args:
        optimizer: any `torch.optim.Optimizer`, or a wrapper that carries one in `.optimizer`.
        scheduler: any object with `step()`; None means a constant schedule; a `Schedule` says in
            words what moves the learning rate, where that is no object with `step()`.
        tracker: `"mlflow"`, `"wandb"`, `"local"`, several as a list or comma-separated, or a
            tracker object.
            None: a run that is open in a tracker, else `LRTRACK_TRACKER`, else `[tool.lrtrack]`
            of the nearest `pyproject.toml`, else `"mlflow"`.
        experiment: MLflow experiment or W&B project; None: what the tracker itself would use,
            else `"lrtrack"`.
        name: the run's name; None: from schedule and seed.
        group: a label shared by runs that belong together.
        seed: what reports average over.
        config: further settings of the run: a mapping, a dataclass or a namespace.
        tags: the user's own tags.
        prefix: put before every metric name, so that several optimizers share one run.
        model: gives the parameters their names for `norms="layer"`.
        norms: `"global"`, `"group"` (each param group too), `"layer"` (each parameter too) or
            `"off"`.
        every: record each k-th optimizer step.
        capture_loss: whether the loss is seen at `backward()`.
        resume: id of a run to append to; steps already there are not written twice.
        flush_timeout: seconds to wait at most for delivery at the end of the block.

    Returns:
        A context manager that yields a `TrackedRun`.

    Raises:
        TypeError: no optimizer or scheduler, or an unknown argument.
        UsageError: a value that does not exist; the message lists those that do.
    """
    if misspelt:
        known = [key for key in asked.Options.__dataclass_fields__ if key != "optimizer"]
        raise TypeError(f"track(): {unknown('option', next(iter(misspelt)), known)}")
    given = asked.Options(
        optimizer, scheduler, tracker, experiment, name, group, seed, config, tags, prefix,
        model, norms, every, capture_loss, resume, flush_timeout,
    )  # fmt: skip
    asked.check(given)
    return Block(given)


class Block:
    """The context manager that `track()` returns; may be entered once.

    Attributes:
        suggestions: of a run of kind `FIND`, which sets them before the block ends.
    """

    def __init__(self, given: asked.Options) -> None:
        self.suggestions: dict[str, float] = {}
        self._given = given = asked.converted(given)
        self._settings = read()
        self._trackers = asked.trackers(given, self._settings)
        self._tracked: TrackedRun | None = None
        self._capture: StepCapture | None = None
        self._journal: JournalWriter | None = None
        self._courier: Courier | None = None
        self._watches: dict[str, RunGuard] = {}
        self._left: list[Any] = []  # not empty once the block is left
        self._letting_go = threading.RLock()
        self._has_let_go = False

    def __enter__(self) -> TrackedRun:
        """Open the journal, make sure that somebody ships it, and put the hooks in place."""
        if self._tracked is not None:
            raise RuntimeError("this block was entered before; call track() again")
        self._noticing = on_left(sys._getframe(1), self._left.append, self._abandon)
        try:
            return self._enter()
        except BaseException:
            self.let_go(failed=True)
            raise

    def _enter(self) -> TrackedRun:
        given = self._given
        # Only rank 0 writes, so only there the trackers have to be in order.
        writing = self._trackers if rank() == 0 else []
        snapshot = Snapshot.take(writing)
        run = asked.identity(given, self._settings, writing)
        run = replace(run, credentials=snapshot.credentials)
        layout = Layout(self._settings.directory)
        run, recorded, earlier = continued(layout, run, given.resume)
        self._capture = capture = StepCapture(
            unwrap(given.optimizer),
            given.scheduler,
            on_plateau=lambda value: tracked.on_plateau(value),
            norms=given.norms,
            model=given.model,
            every=given.every,
            capture_loss=given.capture_loss,
        )
        capture.step = recorded
        if earlier is not None:
            capture.counts.counting = f"{run.prefix}loss_count" in earlier.column_names
        self._diagnosing = Diagnosing(run, capture, given.capture_loss, earlier)
        layout, self._journal = open_journal(
            layout, run, snapshot.credentials, self._tick, self._diagnosing.add, self._is_abandoned
        )
        self._courier = Courier(layout, run.id, _objects(self._trackers), snapshot)
        self._tracked = tracked = TrackedRun(
            run, capture, layout, self._journal, self._courier, given.flush_timeout, recorded
        )
        if self._journal is not None:
            capture.on_step = tracked.recorder()
            _watch(self._trackers, run, layout, tracked, self._watches)
            self._courier.start(portable=layout.marker(run.id).exists())
        if given.kind == TRAIN:  # else whoever entered the block says what its steps are
            capture.attach()
        return tracked

    def _exit(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take everything out again, end the run, and wait a while for its delivery."""
        state = State.FINISHED if kind is None else State.FAILED
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        timeout = min(self._given.flush_timeout, INTERRUPTED if interrupted else float("inf"))
        try:
            if self._capture is not None:
                self._capture.detach(failed=kind is not None)
            self._end(state, timeout)
        finally:
            self.let_go(failed=kind is not None)

    __exit__ = Exit(_exit)

    def _end(self, state: State, timeout: float) -> None:
        if self._journal is None or self._tracked is None or not self._tracked.ours():
            return
        try:
            self._journal.close(state, **self._found(self._journal, state))
            later = {name for name, watch in self._watches.items() if not watch.leave()}
            # Where the journal's disk is full, nobody can deliver it now.
            self._tracked.finish(0.0 if self._journal.kept_in else timeout, later)
        except Exception as trouble:  # the user's own exception, or his results, go first
            warn(f"lrtrack could not end the run well: {trouble!r}")

    def let_go(self, *, failed: bool) -> None:
        """Do what is left to do, without waiting for it, wherever an exit was interrupted.

        Idempotent, as is each part of it, so that whoever is interrupted here can begin anew.

        Args:
            failed: how the run ended, if its exit has not said so.
        """
        state = State.FAILED if failed else State.FINISHED
        steps: list[Callable[[], object]] = []
        if self._capture is not None:
            steps.append(partial(self._capture.detach, failed=failed))
        if self._tracked is None or self._tracked.ours():
            if self._journal is not None:
                steps.append(partial(self._journal.close, state, wait=False))
            steps.append(partial(self._left.append, None))  # the writer may not be known yet
            steps += [watch.leave for watch in self._watches.values()]
            if self._courier is not None:
                steps.append(self._courier.stop)
        with self._letting_go:
            for step in steps:
                try:
                    step()
                except Exception as error:
                    warn(f"lrtrack could not leave a block well: {error!r}")
            self._has_let_go = True

    def _abandon(self, _: Any) -> None:
        """The block was left: whatever its exit has not done is done now."""
        if not self._has_let_go:
            self.let_go(failed=True)

    def _is_abandoned(self) -> bool:
        """Asked by the writer's thread."""
        if not self._left:
            return False
        self.let_go(failed=True)
        return True

    def accumulate(self, accumulates: bool) -> None:
        """Say whether the closure of a step has only the last of the step's micro-batches.

        Then its loss is added to what `backward()` has seen since the step before.
        """
        if self._capture is not None:
            self._capture.accumulates = accumulates

    def weight_losses(self, weight: Weight) -> None:
        """Say what a step's loss is multiplied by, given its number of backward calls.

        For frameworks that divide the loss by themselves: then no `loss_count` is recorded.
        """
        if self._capture is not None:
            self._capture.counts.weight = weight

    def _found(self, journal: JournalWriter, state: State) -> dict[str, Any]:
        """What only the end of the run knows; the user hears of it."""
        if self._given.kind != TRAIN:
            return {"suggestions": self.suggestions} if self.suggestions else {}
        try:
            journal.flush()
            found = self._diagnosing.found(state)
            tell(found)
            return {"diagnoses": found}
        except Exception as error:
            warn(f"lrtrack could not diagnose the run: {error!r}")
            return {}

    def _tick(self) -> None:
        if self._tracked is not None:
            self._tracked.tick()
        for watch in self._watches.values():
            watch.tick()


def _watch(
    trackers: list[Tracker],
    run: Run,
    layout: Layout,
    tracked: TrackedRun,
    watches: dict[str, RunGuard],
) -> None:
    """Begin those trackers' guards of the user's own runs that have one, by tracker name."""
    for tracker, target in zip(trackers, run.targets, strict=True):
        if not target.joined or not isinstance(tracker, GuardsOpenRuns):
            continue
        guard = tracker.guard(layout.gate(run.id, target.tracker), tracked.deliver)
        if guard is not None:
            watches[target.tracker] = guard  # first, so that it is left in any case
            guard.enter()


def _objects(trackers: list[Tracker]) -> dict[str, Tracker]:
    return {tracker.name: tracker for tracker in trackers if not tracker.portable}
