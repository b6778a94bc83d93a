"""Records an optimizer's steps through its own step hooks.

It uses `register_step_pre_hook` and `register_step_post_hook` and never patches `step`: schedulers
wrap `step` themselves, and attributes on the instance would break pickle and deepcopy.

Longer than other files, because all the work of one step is in one place and inlined: it is the
only work on the training thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from functools import partial
from sys import _getframe
from types import FrameType
from typing import Any

import torch
from torch.compiler import is_dynamo_compiling

from lrtrack.capture import torch_patches
from lrtrack.capture.accumulation import LossCount
from lrtrack.capture.closures import FirstEvaluation, with_closure
from lrtrack.capture.device_scalars import Scalar, add, divide, hold_number, together
from lrtrack.capture.effective_lr import effective_rate
from lrtrack.capture.group_names import group_names
from lrtrack.capture.hidden import Hidden
from lrtrack.capture.loads import Loads
from lrtrack.capture.momentum import decay_of, momentum_of, where_momentum_is
from lrtrack.capture.nested_schedulers import nested
from lrtrack.capture.norms import Group, measure
from lrtrack.capture.observations import Stepping, Unreached
from lrtrack.capture.released import RELEASED
from lrtrack.capture.sharded import attendance, is_shared, largest, spread
from lrtrack.capture.thread_state import Notes, current_notes, own, period
from lrtrack.capture.unseen import Unseen
from lrtrack.capture.updates import UpdateNorms

#: Stands in for a weight decay that has moved: from then on it is recorded at each step.
_MOVED: Any = object()
#: Called with step, time (what the clock showed) and metrics (some perhaps `DeviceScalar`).
OnStep = Callable[[int, float, dict[str, Any]], None]


class StepCapture:
    """Observes an optimizer and its scheduler between `attach` and `detach`.

    Attributes:
        step: the last step, from 0; -1 before the first.
        on_step: called with each recorded step.
        made: steps made since `attach`.
        taken: steps before which another step has used the loss.
        skips: steps that a gradient scaler has skipped, where a framework says so.
        accumulates: whether a step's closure holds the last of several micro-batches; its loss is
            then added to the losses since the previous step.
        counts: handles the number of backward calls behind a loss.
        stepping: how the scheduler is stepped.
        loads: to which step a loaded checkpoint returns.
        unreached: param groups without a gradient so far.
        unseen: steps of other optimizers before the first step, or after the last.
        updates: measures how far steps move the weights; None if nobody asks for that.
        hidden: whether steps run without hooks since the first one that was seen.
        begun: whether a step was seen since those of other optimizers are noted.
        by_hand: steps that the user recorded, because no hook sees them.
        device: type and name of the device of what the user recorded; None if it is unknown, or
            the optimizer's.

    Args:
        optimizer: the optimizer whose steps are counted.
        scheduler: searched for a plateau schedule and for cycled momentum.
        on_step: see above; may be set later.
        on_plateau: called with each value given to a `ReduceLROnPlateau` in `scheduler`.
        norms: as in `track()`.
        model: names the parameters for `norms="layer"`.
        every: record each k-th step, beginning with the first.
        capture_loss: whether losses are recorded.
        updates: measure the update of each k-th step, among those recorded; None: of no step.
        norms_every: compute the norms of each k-th step only, among those recorded.
        clock: returns seconds since any moment, which `on_step` gets.
    """

    #: Whether it takes the norms of the weights itself when a step begins.
    _weighs = True

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        scheduler: Any = None,
        *,
        on_step: OnStep = lambda step, time, metrics: None,
        on_plateau: Callable[[float], None] = lambda value: None,
        norms: str = "global",
        model: torch.nn.Module | None = None,
        every: int = 1,
        capture_loss: bool = True,
        updates: int | None = None,
        norms_every: int = 1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.step = -1
        self.made = 0
        self.taken = 0
        self.by_hand = 0
        self.device: tuple[str, str] | None = None
        self.accumulates = False
        self.counts = LossCount()
        self._optimizer = optimizer
        self._schedulers = list(nested(scheduler))
        self.stepping = Stepping(self._schedulers, optimizer)
        self._counting = self.stepping.scheduler
        self.loads = Loads(self, optimizer)
        self.unreached = Unreached(optimizer.param_groups)
        self._waiting = self.unreached.waiting
        self.on_step = on_step
        self._on_plateau = on_plateau
        self._measure = measure(norms, model)
        self._measuring = norms != "off"
        self._wholly = norms == "global"
        self._norms_every = norms_every
        self.updates = None if updates is None else UpdateNorms(updates, norms, model)
        self._key, self._block = id(optimizer), id(self)
        self._every = every
        self._capture_loss = capture_loss
        self._clock = clock
        self._momentum_at_start = momentum_of(optimizer.param_groups)
        self._momentum_key, self._momentum_held = where_momentum_is(optimizer.param_groups)
        self._momentum_moves = any(getattr(s, "cycle_momentum", False) for s in self._schedulers)
        self._metrics: dict[str, Any] = {}
        self._here, self._period = current_notes(), -1
        self._decay_held: Any = decay_of(optimizer.param_groups)
        self._effective = effective_rate(optimizer)
        self.unseen = Unseen([optimizer])
        self.hidden = Hidden()
        self.begun = False
        self._agreed = False
        self._attempts = self._attempts_before = self.skips = 0
        self._recording = False
        self._skipped = False
        self._under_way: FrameType | None = None
        self._inner_steps = 0

    def attach(self) -> None:
        """Install the hooks."""
        try:
            if self._shared():
                attendance.enter(self)
            self._attempts_before = torch_patches.attempts(self._optimizer)
            torch_patches.start(self, self._optimizer, self._block)
            self._here = current_notes()  # without what happened before
            self._period = period()  # it stays while any block is open
            self.unseen.captures.append(self)
            self.unseen.start()
            self.loads.attach()
            self._optimizer.register_step_pre_hook(self._before)
            if self.updates is not None:  # hooks of their own, so that other blocks pay nothing
                self._optimizer.register_step_pre_hook(self._before_update)
                self._optimizer.register_step_post_hook(self._after_update)
            self._optimizer.register_step_post_hook(self._after)
            for scheduler in self._schedulers:
                if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
                    torch_patches.listen_to_plateau(scheduler, self._on_plateau)
        except BaseException:
            self.detach(failed=True)
            raise

    def detach(self, failed: bool = False) -> None:
        """Remove all hooks; `failed` if an exception ends the block. Idempotent.

        This needs nothing but the capture itself, because an interrupt may come between installing
        a hook and storing its handle.
        """
        for scheduler in self._schedulers:
            torch_patches.stop_listening(scheduler, self._on_plateau)
        after = getattr(self._optimizer, "_optimizer_step_post_hooks", {})
        before = getattr(self._optimizer, "_optimizer_step_pre_hooks", {})
        remove_hook(after, self._after)
        remove_hook(after, self._after_update)
        remove_hook(before, self._before_update)
        remove_hook(before, self._before)
        self.unseen.stop(self._here)
        self.loads.detach()
        self._attempts = max(self._attempts, torch_patches.attempts(self._optimizer))
        torch_patches.stop(self)
        attendance.leave(self, failed)
        torch_patches.quietly("the param groups", self.unreached.look_now)
        self._under_way = None

    def replace_scheduler(self, scheduler: Any) -> None:
        """Observe another scheduler from the next step on, in place of the one so far."""
        for former in self._schedulers:
            torch_patches.stop_listening(former, self._on_plateau)
        self._schedulers = list(nested(scheduler))
        for later in self._schedulers:
            if isinstance(later, torch.optim.lr_scheduler.ReduceLROnPlateau):
                torch_patches.listen_to_plateau(later, self._on_plateau)
        self.loads.replace_scheduler(self._succeed)

    def _succeed(self) -> None:
        former, self.stepping = self.stepping, Stepping(self._schedulers, self._optimizer)
        self.stepping.take_over(former, self.made)
        self._counting = self.stepping.scheduler
        cycled = any(getattr(own, "cycle_momentum", False) for own in self._schedulers)
        self._momentum_moves = self._momentum_moves or cycled

    def forget(self) -> None:
        """Drop all references to optimizer and scheduler, after `detach`. Idempotent.

        What was counted stays.
        """
        self._optimizer, self._schedulers, self._counting = RELEASED, [], None
        self._momentum_held = self._decay_held = self._effective = None
        self.unreached.waiting.clear()
        if self.updates is not None:
            self.updates.drop()
        self.stepping.forget()
        self.loads.forget()

    # The code of each step is inlined: between torch's own operations, its code and data have left
    # the CPU caches, so that every function call costs as much as ten warm ones.
    def _before(self, optimizer: Any, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        if is_dynamo_compiling():  # `Hidden` says why this only writes
            self.hidden.compiled = self.hidden.latest = True
            return None
        here = getattr(own, "notes", None)
        if here is None or here.period != self._period:
            here = current_notes()
        self._here = here
        if here.away:
            self.captured_in(here)
            return None
        caller = _getframe(1)
        if self._under_way is not None and self._is_inner(caller):
            return None
        self._under_way, self._inner_steps = caller, 0
        if here.used and here.stepping != self._key:
            self.taken += here.loss is not None
            here.clear()
        here.used, here.stepping = True, self._key
        metrics: dict[str, Any] = {}
        self._metrics, self._skipped = metrics, False
        if (at := getattr(self._counting, "last_epoch", None)) != (stepping := self.stepping).at:
            if stepping.moved_at + 1 == self.made and type(at) is int and at - 1 == stepping.at:
                stepping.at, stepping.moved_at = at, self.made
                stepping.moves += 1
            else:
                torch_patches.quietly("the scheduler", self.loads.move)
        if "found_inf" in self._optimizer.__dict__:
            torch_patches.quietly("the gradient scaler", self._read_scaler)
        if not self.begun:
            self.begun = True
            torch_patches.quietly("which steps to record", self._begin)
        reached = self._every == 1 or (self.step + 1) % self._every == 0
        self._recording = reached and not self._skipped
        if not self._recording:
            return None
        try:
            groups = self._optimizer.param_groups
            first = groups[0]
            rate = first["lr"]
            if type(rate) is float:
                metrics["lr"] = rate
            elif rate is not None or self._effective is None:
                metrics["lr"] = hold_number(rate)
            if len(groups) > 1:
                self._write_rates("lr", [group["lr"] for group in groups])
            if self._momentum_moves or first.get(self._momentum_key) is not self._momentum_held:
                self._read_momentum()
            if first.get("weight_decay") is not self._decay_held:
                self._read_decay()
            if self._effective is not None:
                self._effective.begin(self._optimizer)
        except Exception as error:
            torch_patches.not_observed("the learning rate", error)
        if kwargs or len(args) > 1:
            closure = kwargs.get("closure") or (*args, None, None)[1]
            if callable(closure):
                return self._look_inside(closure, args, kwargs)
        stride = self._norms_every
        if self._measuring and (
            stride == 1 or here.clipped is not None or self.coming % stride == 0
        ):
            try:
                self._read_gradients(here)
            except Exception as error:
                torch_patches.not_observed("the gradients", error)
        return None

    def _after(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self._under_way is None:  # not seen by `_before`
            return
        if self._inner_steps:
            self._inner_steps -= 1
            return
        self._under_way = None
        here = self._here
        if not self._skipped:
            self.step += 1
            self.made += 1
            if self._waiting:
                torch_patches.quietly("the param groups", self.unreached.look, self.made)
            if self._recording:
                metrics, loss, count = self._metrics, here.loss, here.count
                if "loss" in metrics:
                    count = self.counts.of_closure
                elif type(loss) is float and self._capture_loss:
                    metrics["loss"] = loss
                    loss = None
                try:
                    if loss is not None or here.preclip is not None or self._effective is not None:
                        self._complete(here)
                    if (count != 1 or not self.counts.idle) and "loss" in metrics:
                        torch_patches.quietly("the accumulation", self.counts.add, metrics, count)
                    self.on_step(self.step, self._clock(), metrics)
                except Exception as error:
                    torch_patches.not_observed("a step", error)
        here.used, here.stepping = True, None

    def _before_update(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        updates = self.updates
        if is_dynamo_compiling() or updates is None:
            return
        measures = self._recording and self.coming % updates.stride == 0
        if not (measures or updates.kept) or current_notes().away or self._inner_steps:
            return
        updates.drop()  # copies of a step that has raised
        if measures:
            if self._weighs:
                self.weigh()
            torch_patches.quietly("the update", updates.keep, self._optimizer.param_groups)

    def _after_update(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        updates = self.updates
        if is_dynamo_compiling() or updates is None or not updates.kept:
            return
        if self._under_way is not None and not self._inner_steps:
            self._metrics.update(torch_patches.quietly("the update", updates.measure) or {})

    def weigh(self) -> dict[str, Scalar]:
        """Take the norms of the weights as they are now, for the update that follows."""
        if self.updates is None:
            return {}
        torch_patches.quietly("the update", self.updates.weigh, self._optimizer.param_groups)
        return self.updates.weights

    def captured_in(self, here: Notes) -> None:
        """Note that a CUDA graph captures a step, which is not made now."""
        if here.capturing is not None:
            self.hidden.captured = True
            here.capturing.append(self)

    def _look_inside(self, closure: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        # With a closure the gradients do not exist yet: read them after its first evaluation.
        read = partial(self._read_closure, self._here.loss, self._here.count)
        first = FirstEvaluation(closure, partial(torch_patches.quietly, "the closure", read))
        return with_closure(first, args, kwargs)

    def _is_inner(self, caller: FrameType) -> bool:
        # torch runs the hooks in `step` and again if a subclass's `step` calls its parent's.
        # If the frame of the step under way has left the stack, that step has raised.
        frame: FrameType | None = caller
        while frame is not None and frame is not self._under_way:
            frame = frame.f_back
        if frame is None:
            return False
        self._inner_steps += 1
        return True

    def _read_scaler(self) -> None:
        # A GradScaler always calls a fused optimizer, which then skips the step by itself. Only
        # here does the capture wait for a device, to know whether the step will be skipped.
        found_inf = self._optimizer.found_inf  # type: ignore[attr-defined]
        self._skipped = isinstance(found_inf, torch.Tensor) and bool(found_inf.item())

    def _begin(self) -> None:
        self.unseen.seen(self._here)
        self.hidden.clear()
        agreed, self._agreed = self._agreed, True
        if not agreed and (self._every, self._norms_every, self.updates) != (1, 1, None):
            self.agree()

    def agree(self) -> None:
        """Let all processes count alike if gradients are sharded over them.

        All of them must compute the norms of such gradients at the same steps, but only one may
        find the journal of a resumed run.
        """
        meshes = {spread(parameter) for parameter in self._shared()}
        if meshes:
            attendance.require(meshes)
            self.step = largest(self.step, sorted(meshes, key=str))

    @property
    def coming(self) -> int:
        """The number in the run that the step under way will have."""
        return self.step + 1

    @property
    def skipped(self) -> int:
        """How many steps a gradient scaler has skipped."""
        attempts = max(self._attempts, torch_patches.attempts(self._optimizer))
        return self.skips + max(0, attempts - self._attempts_before - self.made)

    def _shared(self) -> list[torch.Tensor]:
        return [parameter for parameter in self.parameters() if is_shared(parameter)]

    def parameters(self) -> Iterator[torch.Tensor]:
        """Yield the optimizer's parameters."""
        return (p for group in self._optimizer.param_groups for p in group["params"])

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer."""
        return self._optimizer

    @property
    def scheduler(self) -> Any:
        """The scheduler as it was given."""
        return self._schedulers[0] if self._schedulers else None

    @property
    def groups(self) -> Sequence[Group]:
        """The optimizer's param groups."""
        return self._optimizer.param_groups

    @property
    def has_plateau(self) -> bool:
        """Whether the scheduler is a `ReduceLROnPlateau`, or has one inside."""
        kind = torch.optim.lr_scheduler.ReduceLROnPlateau
        return any(isinstance(scheduler, kind) for scheduler in self._schedulers)

    def _read_momentum(self) -> None:
        momentum = momentum_of(self._optimizer.param_groups)
        if momentum is not None:
            self._momentum_moves = self._momentum_moves or momentum != self._momentum_at_start
            if self._momentum_moves:
                self._metrics["momentum"] = momentum

    def _read_decay(self) -> None:
        decay = decay_of(self._optimizer.param_groups)
        if decay is not None:
            if self._decay_held is not _MOVED and decay != self._decay_held:
                self._decay_held = _MOVED
            if self._decay_held is _MOVED:
                self._metrics["weight_decay"] = hold_number(decay)

    def _write_rates(self, name: str, rates: list[Any]) -> None:
        for group, rate in zip(group_names(self._optimizer.param_groups), rates, strict=True):
            if rate is not None:
                self._metrics[f"{name}/{group}"] = hold_number(rate)

    def _write_effective_rates(self) -> None:
        if self._effective is not None:
            rates = self._effective.rates(self._optimizer)
            if rates[0] is not None:
                self._metrics["lr_effective"] = hold_number(rates[0])
            if len(rates) > 1:
                self._write_rates("lr_effective", rates)

    def _read_gradients(self, here: Notes) -> None:
        groups = self._optimizer.param_groups
        scale = getattr(self._optimizer, "grad_scale", None)
        is_due = self._norms_every == 1 or self.coming % self._norms_every == 0
        if here.clipped is not None and (self._wholly or not is_due) and scale is None:
            clipped_norm = here.clipped.norm(groups)
            if clipped_norm is not None:
                self._metrics["grad_norm"] = clipped_norm
                return
        if not is_due:
            return
        norms = self._measure(groups)
        if isinstance(scale, torch.Tensor):  # a fused optimizer unscales within its step
            norms = {name: divide(norm, scale) for name, norm in norms.items()}
        self._metrics.update(norms)

    def _read_closure(self, earlier: Scalar | None, count: int, loss: Any) -> None:
        here = current_notes()
        if self._measuring:
            self._read_gradients(here)
        if not self._capture_loss:
            return
        if loss is not None:
            before = earlier if self.accumulates else None
            self.counts.of_closure = 1 if before is None else 1 + count
            self._write("loss", add(before, hold_number(loss)))
        elif earlier is not None and here.loss is None:  # a closure that only clips or logs
            self.counts.of_closure = count
            self._write("loss", earlier)

    def _write(self, name: str, value: Scalar) -> None:
        self._metrics[name] = together(value)

    def _complete(self, here: Notes) -> None:
        """Record the values that most steps lack or that are not numbers yet."""
        metrics, loss = self._metrics, here.loss
        if type(here.preclip) is float:
            metrics["grad_norm_preclip"] = here.preclip
        elif here.preclip is not None:
            torch_patches.quietly("the clipping", self._write, "grad_norm_preclip", here.preclip)
        if loss is not None and self._capture_loss and "loss" not in metrics:
            torch_patches.quietly("the loss", self._write, "loss", loss)
        if self._effective is not None:
            torch_patches.quietly("the effective learning rate", self._write_effective_rates)


def remove_hook(hooks: MutableMapping[int, Any], own: Callable[..., Any]) -> None:
    """Remove a function from an optimizer's hooks."""
    for key, hook in list(hooks.items()):
        if hook == own:
            hooks.pop(key, None)
