"""`find_lr()`: the loop of the learning-rate range test."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Never

import numpy as np
import torch

from lrtrack.capture import thread_state
from lrtrack.capture.optimizers import unwrap, world_size
from lrtrack.errors import UsageError, warn
from lrtrack.finder import validation
from lrtrack.finder.result import LRFinderResult, Stopped
from lrtrack.finder.snapshot import Snapshot
from lrtrack.finder.suggest import suggest
from lrtrack.tracking.context import Block

#: Called with the index of each rate, the rate, its loss and its smoothed loss.
_Record = Callable[[int, float, float, float], None]


def find_lr(
    model: torch.nn.Module,
    optimizer: Any,
    step: Callable[[], Any],
    *,
    start: float = 1e-7,
    end: float = 10,
    num_steps: int = 100,
    mode: str = "exp",
    smoothing: float = 0.8,
    stop_factor: float = 4,
    scheduler: Any = None,
    record: bool = True,
    track: Mapping[str, Any] | None = None,
) -> LRFinderResult:
    """Raise the learning rate from batch to batch, watch the loss, and suggest a rate.

    The range test of Smith, "Cyclical learning rates for training neural networks", WACV 2017. For
    each rate: `optimizer.zero_grad()`, then `step()`, then `optimizer.step()`. The rate is that of
    param group 0; other groups keep their ratio to it (of their `initial_lr` if a scheduler has
    set one). As everywhere in lrtrack, a loss is measured before the step with its rate.

    Afterwards, also after an exception or Ctrl-C, everything is restored bit for bit and in place:
    parameters, gradients, buffers, modes, optimizer, scheduler, and the random states of Python,
    numpy, torch and its devices in use. What only `step()` knows is not restored: the position of
    its data loader, a gradient scaler. This takes the memory of one more copy of these states.

    If several processes train together, call it in each of them: their losses are averaged. Switch
    off the built-in schedule of an optimizer that has one (Ranger21: `disable_lr_scheduler`).

    Args:
        model: the model whose parameters the optimizer trains.
        optimizer: any `torch.optim.Optimizer` whose `step()` needs no closure, or a wrapper that
            carries one in `.optimizer`.
        step: a function that takes the next batch, runs it forward and backward, and returns the
            loss; it does not call `optimizer.step()`. The optimizer gets its gradients as they
            are, so they must be unscaled.
        start, end: the first and the last rate.
        num_steps: the number of rates, at least 10.
        mode: rates are spaced evenly on a logarithmic (`"exp"`) or a linear (`"linear"`) axis.
        smoothing: weight of the past in the moving average of the losses, in [0, 1).
        stop_factor: ends the test when the smoothed loss exceeds its minimum times this factor.
        scheduler: a scheduler to restore, too. It is optional, as the test does not step it.
        record: whether the test is logged as a run of kind `find`, with its curve and its
            suggestions. It is always a run of its own: a run that you have open is not changed.
        track: options of `track()` for that run, such as `{"experiment": "digits", "seed": 0}`:
            `tracker`, `experiment`, `name`, `group`, `seed`, `config`, `tags` and
            `flush_timeout`. If a run is open and no `experiment` is given, it is that run's.

    Returns:
        The curve, `.suggestion`, and `.suggestions` by method.

    Raises:
        TypeError: an argument, or what `step()` returned, has the wrong type, or `track` has an
            unknown option.
        UsageError: a value is invalid, the loss is not finite at the first step, or `step()`
            leaves no gradients or makes optimizer steps itself.
    """
    sweep = validation.Sweep(start, end, num_steps, mode, smoothing, stop_factor)
    sweep.check()
    validation.check(model, optimizer, step, scheduler)
    options = validation.track_options(track, model, optimizer, sweep)
    block = Block(options) if record else None
    return _run(_RangeTest(model, optimizer, step, sweep), scheduler, block)


def _run(test: _RangeTest, scheduler: Any, block: Block | None) -> LRFinderResult:
    """Run the test; with a block it is recorded."""
    with ExitStack() as stack:
        record: _Record = lambda *_: None  # noqa: E731
        if block is not None:
            stack.enter_context(block)
            record = _recorder(block)
        with _restoring(test.model, test.optimizer, scheduler):
            result = test.run(record)
        if block is not None and block.recording is not None:
            block.recording.suggestions.update(result.suggestions)
    if not result.suggestions:
        warn(
            "find_lr() has no suggestion, because the loss never fell. Fix: lower start, raise "
            "num_steps, or choose a rate from result.plot()."
        )
    return result


def _recorder(block: Block) -> _Record:
    assert block.recording is not None
    record_step, clock = block.recording.recorder(), block.recording.clock

    def record(index: int, rate: float, loss: float, smoothed: float) -> None:
        record_step(index, clock.read(), {"lr": rate, "loss": loss, "loss_smoothed": smoothed})

    return record


@contextmanager
def _restoring(model: torch.nn.Module, optimizer: Any, scheduler: Any) -> Iterator[None]:
    """Restore everything at the end, whatever happens, and hide the steps from open blocks."""
    snapshot = Snapshot(model, optimizer, scheduler)
    try:
        with thread_state.away():
            yield
    finally:
        try:
            snapshot.restore()
        except KeyboardInterrupt:  # Ctrl-C was pressed again: restore first
            snapshot.restore()
            raise


class _RangeTest:
    """One range test on a model."""

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: Any,
        step: Callable[[], Any],
        sweep: validation.Sweep,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self._inner = unwrap(optimizer)
        self._step = step
        self._sweep = sweep
        self._ratios = _ratios(self._inner.param_groups)
        self._in_user_step = self._stepped = False

    def run(self, record: _Record) -> LRFinderResult:
        """Try the rates until the last one, or until the loss rises."""
        rates = self._sweep.rates()
        losses: list[float] = []
        smoothed: list[float] = []
        stopped: Stopped = "end"
        guard = self._inner.register_step_pre_hook(self._guard)
        try:
            for index, rate in enumerate(rates.tolist()):
                loss = self._loss(index, rate)
                losses.append(loss)
                smoothed.append(self._smoothed(losses, smoothed))
                record(index, rate, loss, smoothed[-1])
                if self._diverged(smoothed):
                    stopped = "diverged"
                    break
                self.optimizer.step()
        finally:
            guard.remove()
        tried_rates, curve = rates[: len(losses)], np.array(smoothed)
        suggestions = suggest(tried_rates, curve, self._sweep.smoothing)
        return LRFinderResult(tried_rates, np.array(losses), curve, suggestions, stopped)

    def _loss(self, index: int, rate: float) -> float:
        """Run one batch at this rate, and leave its gradients for the optimizer."""
        self._set(rate)
        self.optimizer.zero_grad()
        expected_rates = [float(group["lr"]) for group in self._inner.param_groups]
        self._in_user_step, self._stepped = True, False
        loss = number_of(self._step())
        self._in_user_step = False
        if self._stepped:  # step() caught the error that this raised
            self._refuse_step()
        if [float(group["lr"]) for group in self._inner.param_groups] != expected_rates:
            raise UsageError(
                "step() changed the learning rate, which find_lr() sets. Fix: remove "
                "scheduler.step() from it."
            )
        loss = _averaged(loss, self._inner)
        if index == 0:
            self._check_first(loss, rate)
        return loss

    def _check_first(self, loss: float, rate: float) -> None:
        if not math.isfinite(loss):
            raise UsageError(
                f"The loss is {loss} at the first step, before any learning rate was tried (the "
                f"first one is {rate:g}). Fix: look for NaN or Inf in the model and its data."
            )
        groups = self._inner.param_groups
        if all(parameter.grad is None for group in groups for parameter in group["params"]):
            raise UsageError("step() left no gradients. Fix: call loss.backward() in it.")

    def _guard(self, *_: Any) -> None:
        if self._in_user_step:
            self._stepped = True
            self._refuse_step()

    def _refuse_step(self) -> Never:
        raise UsageError(
            "step() called optimizer.step(), which find_lr() calls itself. Fix: only run forward "
            "and backward in step(), and return the loss."
        )

    def _set(self, rate: float) -> None:
        for group, ratio in zip(self._inner.param_groups, self._ratios, strict=True):
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate * ratio)
            else:
                group["lr"] = rate * ratio

    def _smoothed(self, losses: list[float], before: list[float]) -> float:
        """The exponential moving average of the losses, corrected for its bias at the start."""
        weight, count = self._sweep.smoothing, len(losses)
        if not before:
            return losses[-1]
        past = before[-1] * (1 - weight ** (count - 1))
        return (weight * past + (1 - weight) * losses[-1]) / (1 - weight**count)

    def _diverged(self, smoothed: list[float]) -> bool:
        if not math.isfinite(smoothed[-1]):
            return True
        best = min(smoothed)
        # The threshold is stop_factor × best for a positive loss; losses may be negative, too.
        return smoothed[-1] > best + (self._sweep.stop_factor - 1) * abs(best)


def number_of(loss: Any) -> float:
    """Convert what `step()` returned to a number.

    Raises:
        TypeError: it is not one number.
    """
    if isinstance(loss, torch.Tensor) and loss.numel() == 1 and not loss.is_complex():
        full = getattr(loss, "full_tensor", None)  # a DTensor: every rank takes part
        return float((loss if full is None else full()).detach())
    if not isinstance(loss, bool) and isinstance(loss, numbers.Real):
        return float(loss)
    what = (
        f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else repr(loss)
    )
    raise TypeError(f"find_lr(): step() must return the loss as one number, got {what[:80]}.")


def _ratios(groups: list[dict[str, Any]]) -> list[float]:
    """Each group's learning rate divided by that of group 0; 1 for all if that is zero."""
    rates = [float(group.get("initial_lr", group["lr"])) for group in groups]
    return [rate / rates[0] if rates[0] else 1.0 for rate in rates]


def _averaged(loss: float, optimizer: torch.optim.Optimizer) -> float:
    """The mean over all processes that train together: they must stop at the same rate."""
    if world_size() == 1:
        return loss
    device = next(p.device for group in optimizer.param_groups for p in group["params"])
    total = torch.tensor(loss, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(total)
    return float(total) / world_size()
