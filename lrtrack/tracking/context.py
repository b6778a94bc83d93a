"""`track()` and its `with` block."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any

import torch

from lrtrack.capture.optimizers import rank
from lrtrack.journal.layout import Layout
from lrtrack.records import State
from lrtrack.settings import read
from lrtrack.shipping.credentials import Snapshot
from lrtrack.trackers import registry
from lrtrack.tracking import options as checks
from lrtrack.tracking import report_hint, unended
from lrtrack.tracking.exit_guard import Exit, on_left
from lrtrack.tracking.journal_location import answering
from lrtrack.tracking.manual_steps import ManualSteps
from lrtrack.tracking.options import Options
from lrtrack.tracking.rank_losses import for_this_rank
from lrtrack.tracking.recording import Recording
from lrtrack.tracking.resume import ResumedRun, branched, find_resumed
from lrtrack.tracking.run import TrackedRun

#: Seconds to wait for the upload after Ctrl-C: users who press it want their prompt back.
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
    total_steps: int | None = None,
    updates: int | None = None,
    norms_every: int | None = None,
    loss_over: str | None = None,
    wandb_rows: str | None = None,
    stop_on: Collection[str] = (),
    on_diagnosis: Callable[[dict[str, str]], object] | None = None,
) -> Block:
    """Record learning rate, gradient norms and loss at each optimizer step of a `with` block.

    The training loop inside does not change, and its results are bit for bit the same.

    Args:
        optimizer: any `torch.optim.Optimizer`, or a wrapper that carries one in `.optimizer`,
            `.opt` or `.optim`. Several that train together come as a list, as a mapping of names,
            or as a container with `.optimizers`; a step is then a round of all of them, which ends
            when one of them begins to step again. DeepSpeed's engine is recorded by its own
            figures. None where no optimizer object exists; then the loop calls `run.record()` at
            each step.
        scheduler: any object with `step()`; None means a constant schedule; a `Schedule` describes
            what moves the learning rate where no object with `step()` does. For several optimizers
            a list or a mapping in their form, with None for those without a scheduler.
        tracker: `"mlflow"`, `"wandb"`, `"local"`, several as a list or comma-separated, or a
            tracker object.
            None: a run that is open in a tracker, else `LRTRACK_TRACKER`, else `[tool.lrtrack]`
            of the nearest `pyproject.toml`, else `"mlflow"`.
        experiment: MLflow experiment or W&B project; None: what the tracker itself would use,
            else `"lrtrack"`.
        name: the run's name; None: made from schedule and seed.
        group: a label shared by runs that belong together.
        seed: the random seed; reports average over it.
        config: further settings of the run: a mapping, a dataclass or a namespace.
        tags: your own tags.
        prefix: put before every metric name, so that several blocks can share one run; reports
            never average runs with different prefixes.
        model: names the parameters for `norms="layer"`.
        norms: `"global"`, `"group"` (each param group too), `"layer"` (each parameter too) or
            `"off"`.
        every: record each k-th optimizer step.
        capture_loss: whether to record the loss at `backward()`.
        resume: id of a run to append to; steps already there are not written twice, and a state
            loaded from an earlier step abandons those after it. With another `name` than that
            run's, the block is a new run that branches off it.
        flush_timeout: seconds to wait at most for the upload at the end of the block.
        total_steps: how many optimizer steps the training will make, with those before a `resume`;
            None: unknown.
        updates: at each k-th step, from step 0, also record `update_norm`, how far the step moved
            the weights; `weight_norm`, that of the weights before it; and `update_ratio`, their
            quotient; all L2, for the parts that `norms` says (`"off"`: for all parameters
            together). Only recorded steps are measured, so `updates` or `every` must be a multiple
            of the other. Such a step needs memory for a copy of the trained weights. None: never.
        norms_every: compute gradient norms at each k-th step only, from step 0, which saves most of
            their time. Norms that clipping gives are recorded at each step all the same. As with
            `updates`, it or `every` must be a multiple of the other. None: `LRTRACK_NORMS_EVERY`,
            else `[tool.lrtrack]`, else each recorded step.
        loss_over: whose loss is recorded where several processes train together. None: the loss of
            rank 0; `"mean"`: the mean over all processes, which needs this block on every rank.
            It takes no part in the training's communication.
        wandb_rows: which rows W&B gets: `"all"`, one for each recorded step, or `"thin"`: fewer
            where a run goes past the volume that W&B recommends, with the first, last, lowest and
            highest value of each metric in each stretch. `history.parquet`, which reports read,
            has all steps. None: what `LRTRACK_WANDB_ROWS` or `[tool.lrtrack]` says, else `"all"`.
            A resumed run goes on as it began.
        stop_on: codes of the diagnoses that end the training, such as `{"LR006"}`. Just before a
            step, `lrtrack.TrainingStopped` is then raised out of `optimizer.step()`: in all
            processes that train together before the same step.
        on_diagnosis: called with each diagnosis, a mapping with `"code"`, `"message"` and `"hint"`,
            on the training's thread before the next step; at the end with those that only the end
            shows. What it raises is a warning.

    Returns:
        A context manager that yields a `TrackedRun`. `start()` is the same without a `with` block.

    Raises:
        TypeError: the optimizer or scheduler is not one, or an argument is unknown.
        UsageError: an argument has an invalid value; the message lists the valid ones.
    """
    options = Options(
        optimizer=optimizer,
        scheduler=scheduler,
        tracker=tracker,
        experiment=experiment,
        name=name,
        group=group,
        seed=seed,
        config=config,
        tags=tags,
        prefix=prefix,
        model=model,
        norms=norms,
        every=every,
        capture_loss=capture_loss,
        resume=resume,
        flush_timeout=flush_timeout,
        total_steps=total_steps,
        updates=updates,
        norms_every=norms_every,
        loss_over=loss_over,
        wandb_rows=wandb_rows,
        stop_on=stop_on,
        on_diagnosis=on_diagnosis,
    )
    checks.check(options)
    return Block(options)


class Block:
    """The context manager that `track()` returns; it can be entered once.

    Attributes:
        recording: the run's recording; None before the block is entered.
        options: the options, converted to their documented types.
    """

    def __init__(self, options: Options) -> None:
        self.recording: Recording | None = None
        self._settings = read()
        self.options = options = for_this_rank(checks.converted(options, self._settings))
        self._trackers = checks.trackers(options, self._settings)
        self._left: list[Any] = []  # not empty once the block is left
        self._entered = False
        self._release_lock = threading.RLock()
        self._released = self._has_ended = False
        self._steps: ManualSteps | None = None

    def __enter__(self) -> TrackedRun:
        """Open the journal, start the upload and install the hooks."""
        if self._entered:
            raise RuntimeError("This block was already entered. Fix: call track() again.")
        self._entered = True
        self._exit_references = on_left(sys._getframe(1), self._left.append, self._abandon)
        try:
            self.recording = self._make_recording()
            capture, options = self.recording.capture, self.options
            before = self.recording.reactions.between_steps
            self._steps = ManualSteps(
                capture, options.every, options.capture_loss, self.recording.clock.read, before
            )
            self.recording.open(self._is_abandoned)
            if not self._exit_references:  # nothing will show that the block was left
                unended.keep(self)
            return TrackedRun(self.recording, self._steps, self.end)
        except BaseException:
            self.release(failed=True)
            raise

    def _make_recording(self) -> Recording:
        options = self.options
        # Only rank 0 writes, so only its trackers have to work.
        trackers = self._trackers if rank() == 0 else []
        snapshot = Snapshot.take(trackers, self._settings.pass_env)
        directory = answering(self._settings.directory)
        self._settings = replace(self._settings, directory=directory)
        layout = Layout(directory)
        resumed = find_resumed(layout, options.prefix, options.resume)
        branches = resumed is not None and options.name not in (None, resumed.run.name)
        placed = replace(options, resume=None) if branches else options
        run = checks.identity(placed, self._settings, trackers)
        run = replace(run, credentials=snapshot.credentials)
        if resumed is None:
            resumed = ResumedRun(run, layout)
        elif branches:
            resumed = branched(run, resumed)
        elif options.total_steps is not None:  # the training may have been prolonged
            run = replace(resumed.run, total_steps=options.total_steps)
            resumed = replace(resumed, run=run)
        return Recording(options, resumed, self._trackers, snapshot)

    def _exit(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end(
            State.FINISHED if kind is None else State.FAILED,
            interrupted=kind is not None and issubclass(kind, KeyboardInterrupt),
        )

    __exit__ = Exit(_exit)

    def end(self, state: State, *, interrupted: bool = False) -> None:
        """Remove the hooks, end the run, and wait a while for its upload. Idempotent.

        Args:
            state: how the run ends.
            interrupted: whether the user wants the prompt back, so that the wait is short.
        """
        failed = state is State.FAILED
        timeout = min(self.options.flush_timeout, INTERRUPTED if interrupted else float("inf"))
        try:
            with self._release_lock:
                has_ended, self._has_ended = self._has_ended, True
            if self.recording is not None and not has_ended:
                if self._steps is not None:
                    self._steps.has_ended = True
                self.recording.capture.detach(failed=failed)
                self.recording.close(state, timeout)
                if self.recording.has_steps():
                    trackers = {tracker.name: tracker for tracker in self._trackers}
                    report_hint.show(self.recording.run, state, trackers, self._settings)
        finally:
            self.release(failed=failed)

    def discard(self) -> None:
        """End a run without steps, and leave no trace of it if no tracker has it yet."""
        if self.recording is not None and self.recording.discard():
            self._has_ended = True
        self.end(State.FAILED)

    def release(self, *, failed: bool) -> None:
        """Close what an interrupted exit left open, without waiting for it. Idempotent.

        Args:
            failed: how the run ended, if its exit has not written that.
        """
        with self._release_lock:
            unended.drop(self)
            try:
                if self.recording is not None:
                    self.recording.release(failed=failed)
            finally:
                # For a journal's thread that started before an interrupt, unknown to the recording.
                self._left.append(None)
                self.options = checks.without_objects(self.options)
            self._released = True

    def _abandon(self, _: Any) -> None:
        """Called when the block was left: do what its exit has not done."""
        if not self._released:
            self.release(failed=True)

    def _is_abandoned(self) -> bool:
        """Called by the journal's thread."""
        if not self._left:
            return False
        self.release(failed=True)
        return True
