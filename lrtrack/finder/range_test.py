"""The loop of a range test, and everything as it was afterwards."""

from __future__ import annotations

import math
import numbers
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Never

import numpy as np
import torch

from lrtrack.capture import thread_state
from lrtrack.capture.optimizers import unwrap, world_size
from lrtrack.errors import UsageError, unknown, warn
from lrtrack.finder import validation
from lrtrack.finder.result import LRFinderResult, Stopped
from lrtrack.finder.snapshot import Snapshot
from lrtrack.finder.suggest import suggest
from lrtrack.records import FIND
from lrtrack.trackers import registry
from lrtrack.tracking.context import Block
from lrtrack.tracking.options import Options
from lrtrack.tracking.options import check as check_options

#: Called with each rate's number, the rate, its loss and its smoothed loss.
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
    tracker: registry.Spec | None = None,
    experiment: str | None = None,
    name: str | None = None,
    group: str | None = None,
    seed: int | None = None,
    config: Any = None,
    tags: Mapping[str, str] | None = None,
    flush_timeout: float = 10.0,
    **misspelt: Never,
) -> LRFinderResult:
    """Raise the learning rate from batch to batch, watch the loss, and suggest a rate.

    The range test of Smith, "Cyclical learning rates for training neural networks", WACV 2017. For
    each rate: `optimizer.zero_grad()`, then `step()`, then `optimizer.step()`. The rate is that of
    param group 0; other groups keep their ratio to it (of their `initial_lr` where a scheduler has
    set one). A loss is the one before the step with its rate, as everywhere in lrtrack.

    Afterwards, also after an exception or Ctrl-C, all is as it was, bit for bit and in place:
    parameters, gradients, buffers, modes, optimizer, scheduler, and the random states of Python,
    numpy, torch and its devices in use. What only `step()` knows is not: the position of its data
    loader, a gradient scaler. Costs the memory of one more copy of these states.

    Where several processes train together, call it in each of them: their losses are averaged. An
    optimizer with a schedule of its own has to have it off (Ranger21: `disable_lr_scheduler`).

    Args:
        model: whose parameters the optimizer trains.
        optimizer: any `torch.optim.Optimizer` whose `step()` needs no closure, or a wrapper that
            carries one in `.optimizer`.
        step: takes the next batch, runs it forward and backward, and returns the loss; it does not
            call `optimizer.step()`. Its gradients are those that the optimizer gets: unscaled.
        start, end: the first and the last rate.
        num_steps: how many rates, at least 10.
        mode: rates are spaced evenly on a logarithmic (`"exp"`) or a linear (`"linear"`) axis.
        smoothing: weight of the past in the moving average of the losses, in [0, 1).
        stop_factor: ends the test where the smoothed loss is above so many times its smallest.
        scheduler: restored, too; it need not be given, as it is not stepped.
        record: whether the test is logged as a run of kind `find`, with its curve and what it
            suggests. It is always a run of its own: one that you have open is left alone.
        tracker, experiment, name, group, seed, config, tags, flush_timeout: as in `track()`; with
            a run open and no `experiment`, that run's.

    Returns:
        The curve, `.suggestion`, and `.suggestions` by method.

    Raises:
        TypeError: an argument, or what `step()` returned, is of the wrong kind.
        UsageError: a value that cannot be, a loss that is not finite at the first step, a `step()`
            that leaves no gradients or makes optimizer steps of its own.
    """
    if misspelt:
        known = list(find_lr.__kwdefaults__ or ())
        raise TypeError(f"find_lr(): {unknown('option', next(iter(misspelt)), known)}")
    sweep = validation.Sweep(start, end, num_steps, mode, smoothing, stop_factor)
    sweep.check()
    validation.check(model, optimizer, step, scheduler)
    block = None
    if record:
        given = Options(
            optimizer, sweep.schedule(), tracker, experiment, name, group, seed, config, tags, "",
            model, "off", 1, False, None, flush_timeout, FIND,
        )  # fmt: skip
        check_options(given)
        block = Block(given)
    return _found(_Test(model, optimizer, step, sweep), scheduler, block)


def _found(test: _Test, scheduler: Any, block: Block | None) -> LRFinderResult:
    """Run the test, recorded where there is a block to do it."""
    with ExitStack() as stack:
        recorder: _Record = lambda *_: None  # noqa: E731
        if block is not None:
            tracked = stack.enter_context(block)
            record = tracked.recorder()
            recorder = lambda index, rate, loss, smoothed: record(  # noqa: E731
                index, time.time(), {"lr": rate, "loss": loss, "loss_smoothed": smoothed}
            )
        with _restoring(test.model, test.optimizer, scheduler):
            result = test.run(recorder)
        if block is not None:
            block.suggestions.update(result.suggestions)
    if not result.suggestions:
        warn(
            "find_lr() has no suggestion: the loss never fell. Try a lower start, more steps, or "
            "look at result.plot()."
        )
    return result


@contextmanager
def _restoring(model: torch.nn.Module, optimizer: Any, scheduler: Any) -> Iterator[None]:
    """Put everything back at the end, whatever happens, unseen by any open block."""
    snapshot = Snapshot(model, optimizer, scheduler)
    try:
        with thread_state.away():
            yield
    finally:
        try:
            snapshot.restore()
        except KeyboardInterrupt:  # pressed once more: first things first
            snapshot.restore()
            raise


class _Test:
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
        self._theirs = self._stepped = False

    def run(self, record: _Record) -> LRFinderResult:
        """Go through the rates until the last one, or until the loss goes up."""
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
        tried, curve = rates[: len(losses)], np.array(smoothed)
        suggestions = suggest(tried, curve, self._sweep.smoothing)
        return LRFinderResult(tried, np.array(losses), curve, suggestions, stopped)

    def _loss(self, index: int, rate: float) -> float:
        """One batch at this rate, with its gradients left for the optimizer."""
        self._set(rate)
        self.optimizer.zero_grad()
        set_to = [float(group["lr"]) for group in self._inner.param_groups]
        self._theirs, self._stepped = True, False
        loss = number_of(self._step())
        self._theirs = False
        if self._stepped:  # and has caught what that raised
            self._refuse()
        if [float(group["lr"]) for group in self._inner.param_groups] != set_to:
            raise UsageError(
                "step() changed the learning rate, which find_lr() sets: leave scheduler.step() out"
            )
        loss = _averaged(loss, self._inner)
        if index == 0:
            self._check_first(loss, rate)
        return loss

    def _check_first(self, loss: float, rate: float) -> None:
        if not math.isfinite(loss):
            raise UsageError(
                f"The loss is {loss} at the first step, before any learning rate was tried (the "
                f"first one is {rate:g}): the model or its data are not sound"
            )
        groups = self._inner.param_groups
        if all(parameter.grad is None for group in groups for parameter in group["params"]):
            raise UsageError("step() left no gradients: it has to call loss.backward()")

    def _guard(self, *_: Any) -> None:
        if self._theirs:
            self._stepped = True
            self._refuse()

    def _refuse(self) -> Never:
        raise UsageError(
            "step() called optimizer.step(), which find_lr() does itself after each call: leave "
            "it to forward, backward and returning the loss"
        )

    def _set(self, rate: float) -> None:
        for group, ratio in zip(self._inner.param_groups, self._ratios, strict=True):
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate * ratio)
            else:
                group["lr"] = rate * ratio

    def _smoothed(self, losses: list[float], before: list[float]) -> float:
        """The exponential moving average with the bias of its beginning taken out."""
        weight, count = self._sweep.smoothing, len(losses)
        if not before:
            return losses[-1]
        past = before[-1] * (1 - weight ** (count - 1))
        return (weight * past + (1 - weight) * losses[-1]) / (1 - weight**count)

    def _diverged(self, smoothed: list[float]) -> bool:
        if not math.isfinite(smoothed[-1]):
            return True
        best = min(smoothed)
        # for a positive loss stop_factor × best; losses below zero exist, too
        return smoothed[-1] > best + (self._sweep.stop_factor - 1) * abs(best)


def number_of(loss: Any) -> float:
    """What `step()` returned, as a number.

    Raises:
        TypeError: it is none.
    """
    if isinstance(loss, torch.Tensor) and loss.numel() == 1 and not loss.is_complex():
        full = getattr(loss, "full_tensor", None)  # a DTensor: every rank takes part
        return float((loss if full is None else full()).detach())
    if not isinstance(loss, bool) and isinstance(loss, numbers.Real):
        return float(loss)
    what = (
        f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else repr(loss)
    )
    raise TypeError(f"find_lr(): step() must return the loss as one number, got {what[:80]}")


def _ratios(groups: list[dict[str, Any]]) -> list[float]:
    """Each group's learning rate over that of group 0; 1 for all where that is zero."""
    rates = [float(group.get("initial_lr", group["lr"])) for group in groups]
    return [rate / rates[0] if rates[0] else 1.0 for rate in rates]


def _averaged(loss: float, optimizer: torch.optim.Optimizer) -> float:
    """The mean over all processes that train together, which must stop at the same rate."""
    if world_size() == 1:
        return loss
    device = next(p.device for group in optimizer.param_groups for p in group["params"])
    total = torch.tensor(loss, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(total)
    return float(total) / world_size()
