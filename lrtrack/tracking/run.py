"""`TrackedRun`: the open run, as `start(…)` and `with track(…) as run` return it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lrtrack.errors import UsageError
from lrtrack.records import State
from lrtrack.tracking.arguments import choice
from lrtrack.tracking.manual_steps import ManualSteps
from lrtrack.tracking.recording import Recording

#: The states in which a run can end.
_ENDED = (State.FINISHED.value, State.FAILED.value)


class TrackedRun:
    """A run that is being recorded; made by `start()` or `track()`, not by hand."""

    def __init__(
        self, recording: Recording, steps: ManualSteps, end: Callable[[State], None]
    ) -> None:
        self._recording = recording
        self._steps = steps
        self._end = end

    @property
    def step(self) -> int:
        """The optimizer step just done, counted from 0; -1 before the first."""
        return self._recording.capture.step

    @property
    def id(self) -> str:
        """The run's id in its (first) tracker once it is known; until then lrtrack's own id.

        A run that lrtrack opens gets its tracker's id in the background: the first access waits
        for it, at most `flush_timeout` seconds. Later accesses return the same id.
        """
        return self._recording.tracker_id()

    @property
    def url(self) -> str | None:
        """The address of the run's page; None where its tracker has no pages."""
        return self._recording.url()

    def log(self, mapping: Mapping[str, Any] | None = None, **metrics: Any) -> None:
        """Record metrics at the step just done, or at step 0 before the first.

        A metric that the step already has is replaced. A value that is not a number is skipped
        with a warning: a typing mistake in an evaluation must not end a training.

        Args:
            mapping: metrics whose names are not Python identifiers, such as `{"val/loss": 0.1}`.
            **metrics: numbers or one-element tensors; a DTensor on every rank, or on none.
        """
        self._recording.amend({**(mapping or {}), **metrics})

    def record(self, *, lr: Any = None, loss: Any = None, grad_norm: Any = None,
               **metrics: Any) -> None:  # fmt: skip
        """Record an optimizer step that lrtrack cannot see; each call is the next step.

        For steps without an optimizer object, of an engine, or of compiled or captured code. Call
        it right after the step. Where the run has an optimizer, the rates that are not given are
        read from it, and a loss that is not given is that of `backward()`. Tensors stay on their
        device until a background thread fetches them.

        Where lrtrack sees the steps itself, and after the end of the run, nothing is recorded, and
        one warning says so.

        Args:
            lr: the learning rate that the step used.
            loss: the step's loss.
            grad_norm: the L2 norm over all gradients.
            **metrics: further metrics of the step, as in `log`.

        Raises:
            UsageError: `lr`, `loss` or `grad_norm` is no number.
            TrainingStopped: a diagnosis ends the training, see `stop_on` of `track()`.
        """
        self._steps.record({"lr": lr, "loss": loss, "grad_norm": grad_norm}, metrics)

    def end(self, state: str | None = None) -> None:
        """End the run and wait for its upload, at most `flush_timeout` seconds.

        A second call does nothing, nor does the end of a `with` block after it.

        Args:
            state: `"FINISHED"` or `"FAILED"`; None: finished.

        Raises:
            UsageError: the state is another one.
        """
        word = State.FINISHED if state is None else choice("state", state, _ENDED)
        self._end(State(word))

    def loss(self, last: int | None = None) -> float | None:
        """Mean of the latest recorded losses; also available after the block.

        It waits for losses that a GPU still computes, so do not call it at every step.

        Args:
            last: the number of steps to average; None: the last 5 % of all records, which is
                `loss_final` after the block.

        Returns:
            None if no loss is recorded, as on all ranks but the first; NaN if one of them is.

        Raises:
            UsageError: `last` is under 1.
        """
        if last is not None and last < 1:
            raise UsageError(f"last is a number of steps, at least 1; got {last}.")
        summary = self._recording.summary()
        return None if summary is None else summary.loss(last)

    def summary(self) -> dict[str, float]:
        """The latest value of each metric, with `loss_final` and `loss_best`.

        Also available after the block. It waits for a GPU as `loss` does, and is empty on all
        ranks but the first.
        """
        summary = self._recording.summary()
        return {} if summary is None else summary.summary()

    @property
    def diagnoses(self) -> tuple[dict[str, str], ...]:
        """The diagnoses so far, each with `"code"`, `"message"` and `"hint"`; all after the end.

        Empty on all ranks but the first.
        """
        return self._recording.reports.known

    def flush(self) -> None:
        """Wait until everything recorded so far is uploaded, at most `flush_timeout` seconds."""
        self._recording.flush()

    def state_dict(self) -> dict[str, Any]:
        """The run's id and its number of steps, for checkpoints.

        These steps are in the journal's file when this method returns, so a training that
        continues from the checkpoint lacks none of them, even if this process is killed.
        """
        self._recording.write_to_disk()
        return {"id": self.id, "step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue counting at the checkpoint's step; `track(resume=…)` selects the run.

        The next optimizer step abandons the records of later steps, if there are any.

        Args:
            state: the result of `state_dict`.
        """
        self._recording.capture.loads.go_to(int(state["step"]))
