"""Engines that step their optimizer themselves, such as DeepSpeed's.

Hooks on the optimizer inside would see parts of a step: flattened or partitioned copies of the
parameters, one param group at a time, without the clipping. So the engine's own figures are read,
around the calls of its methods.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from lrtrack.capture import torch_patches
from lrtrack.capture.device_scalars import (
    ClippedScalar,
    DeviceScalar,
    Scalar,
    SharedScalar,
    add,
    after_clipping,
    hold,
    hold_number,
    scaled,
    together,
)
from lrtrack.capture.group_names import group_names
from lrtrack.capture.patching import replace_method
from lrtrack.capture.step_capture import StepCapture, remove_hook
from lrtrack.capture.thread_state import current_notes, period
from lrtrack.capture.unseen import Unseen

#: Methods that may make a step. The second trains a whole batch and returns its loss.
_STEPS = ("step", "train_batch")
#: Methods that are given a loss.
_LOSSES = ("backward", "scale")

#: Id of an engine → its captures.
_captures: dict[int, list[EngineCapture]] = {}


class EngineCapture(StepCapture):
    """Records the steps of an engine; used like a `StepCapture`.

    A step is a call that has advanced the engine's `global_steps` and not its `skipped_steps`. So
    micro-batches make none, nor do steps that overflow.
    """

    def __init__(
        self, engine: Any, optimizer: torch.optim.Optimizer, scheduler: Any = None, **options: Any
    ) -> None:
        super().__init__(optimizer, scheduler, **options)
        self._engine = engine
        self._key = id(engine)
        self.unseen = Unseen([optimizer])
        self.unseen.names = (type(engine).__name__,)
        self.unseen.engines = ()  # the engine itself makes the steps
        # An optimizer that the engine calls as it is has the real gradients; no engine knows them.
        self._is_plain = getattr(engine, "optimizer", None) is optimizer
        self._is_called = False
        self._rates: list[Any] = []
        self._counts = (0, 0)
        self._loss: Scalar | None = None

    def attach(self) -> None:
        """Begin to observe the engine's methods."""
        try:
            torch_patches.start(self, self._optimizer, self._block)
            self._here = current_notes()
            self.unseen.captures.append(self)
            self.unseen.start()
            self.loads.attach()
            _captures.setdefault(self._key, []).append(self)
            for name in (*_STEPS, *_LOSSES):
                replace_method(type(self._engine), name, partial(_observed, name))
            if self._is_plain:
                self._optimizer.register_step_pre_hook(self._optimizer_steps)
        except BaseException:
            self.detach(failed=True)
            raise

    def detach(self, failed: bool = False) -> None:
        """End `attach`. Idempotent."""
        remove_hook(
            getattr(self._optimizer, "_optimizer_step_pre_hooks", {}), self._optimizer_steps
        )
        _captures[self._key] = [c for c in _captures.get(self._key, ()) if c is not self]
        if not _captures[self._key]:
            del _captures[self._key]
        self.unseen.stop(self._here)
        self.loads.detach()
        torch_patches.stop(self)

    def forget(self) -> None:
        """Drop the reference to the engine, too."""
        super().forget()
        self._engine = None

    def begin(self, name: str) -> None:
        """Note what may have moved when the method returns."""
        self._here = current_notes()
        if name in _STEPS:
            self._counts = self._steps()
            self._rates = list(self._engine.get_lr())
            self._metrics, self._is_called = {}, False

    def end(self, name: str, result: Any, given: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Record the step that the method has made, or note its loss.

        Args:
            name: of the method.
            result: what it has returned.
            given: its arguments.
            options: its keyword arguments.
        """
        if name in _LOSSES:
            loss = given[0] if given else options.get("loss")
            is_divided = given[2] if len(given) > 2 else options.get("scale_wrt_gas", True)
            self._note(loss, self._batches() if is_divided else 1)
            return
        before, self._counts = self._counts, self._steps()
        if self._counts[0] == before[0]:
            return
        loss, self._loss = self._loss_of(name, result), None
        self._here.used = True
        is_made = self._is_called if self._is_plain else self._counts[1] == before[1]
        if is_made:
            self._record(loss)

    def _steps(self) -> tuple[int, int]:
        return self._engine.global_steps, getattr(self._engine, "skipped_steps", 0)

    def _batches(self) -> int:
        """By how much the engine divides each loss."""
        batches = getattr(self._engine, "gradient_accumulation_steps", None)
        return int(batches()) if callable(batches) else 1

    def _note(self, loss: Any, divisor: int) -> None:
        if isinstance(loss, torch.Tensor) and loss.numel() == 1 and not loss.is_complex():
            self._loss = add(self._loss, _divided(hold(loss), divisor))

    def _loss_of(self, name: str, result: Any) -> Scalar | None:
        if name == "train_batch":
            self._loss = None
            self._note(result, 1)
        elif self._loss is None and self._here.loss is not None and not self._here.used:
            return _divided(self._here.loss, self._batches())  # `backward()` of the loss itself
        return self._loss

    def _optimizer_steps(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if not current_notes().away:
            self._is_called = True
            if self._measuring:  # at each k-th step, as `norms_every` says
                torch_patches.quietly("the gradients", self._read_gradients, current_notes())

    def _record(self, loss: Scalar | None) -> None:
        if self.loads.is_loaded:
            torch_patches.quietly("a loaded checkpoint", self.loads.settle)
        if not self.begun:
            self.begun = True
            self.unseen.seen(self._here)
        self.step += 1
        self.made += 1
        self.by_hand += 1
        norm = self._engine.get_global_grad_norm()  # by every process, as it may be a collective
        if self.step % self._every:
            return
        metrics = self._metrics
        rates = [None if rate is None else hold_number(rate) for rate in self._rates]
        if rates and rates[0] is not None:
            metrics["lr"] = rates[0]
        if len(rates) > 1:
            groups = self._optimizer.param_groups
            names = group_names(groups) if len(groups) == len(rates) else range(len(rates))
            metrics |= {
                f"lr/{group}": rate
                for group, rate in zip(names, rates, strict=True)
                if rate is not None
            }
        if self._measuring and norm is not None and not self._is_plain:
            self._write_norm(together(hold_number(norm)))
        if loss is not None and self._capture_loss:
            metrics["loss"] = loss
        self.on_step(self.step, self._clock(), metrics)

    def _write_norm(self, norm: Scalar) -> None:
        """Write the engine's norm, which is the one before clipping."""
        clipping = getattr(self._engine, "gradient_clipping", None)
        limit = float(clipping()) if callable(clipping) else 0.0
        if limit > 0:
            self._metrics["grad_norm_preclip"] = norm
            if isinstance(norm, DeviceScalar):
                norm = ClippedScalar(norm, limit)
            elif isinstance(norm, float):
                norm = after_clipping(norm, limit)
        self._metrics["grad_norm"] = norm


def _divided(loss: Scalar, divisor: int) -> Scalar:
    value = together(loss)
    return value if divisor == 1 or isinstance(value, SharedScalar) else scaled(value, 1 / divisor)


def _observed(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of an engine's class, observed by the captures of its engine."""
    own_period = period()

    def observed(*args: Any, **kwargs: Any) -> Any:
        captures = _captures.get(id(args[0]), ()) if args else ()
        if not captures or own_period != period() or current_notes().away:
            return original(*args, **kwargs)
        for capture in captures:
            torch_patches.quietly("an engine", capture.begin, name)
        result = original(*args, **kwargs)
        for capture in list(captures):
            torch_patches.quietly("an engine", capture.end, name, result, args[1:], kwargs)
        return result

    return observed
