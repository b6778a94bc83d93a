"""Finds out to which step a training returns when the user loads a checkpoint.

Only a call of `load_state_dict` counts as evidence: schedulers also restart by design. The step is
known, in this order, from

- `TrackedRun.load_state_dict`, whose state names it;
- the optimizer, if it counts its steps as Adam does;
- the scheduler, by the step at which it had the loaded count before.

Nothing is abandoned before the next optimizer step: many trainings end by loading their best
checkpoint, only to evaluate it. Nor is anything where the loaded state is that of before the first
step: restarts reset their optimizer and scheduler so, and keep the weights. Only the user can say
by `TrackedRun.load_state_dict` that such a training begins again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Protocol

import torch

from lrtrack.capture import torch_patches
from lrtrack.capture.observations import Stepping
from lrtrack.capture.own_counts import is_counted_here, optimizer_count
from lrtrack.capture.pace import Pace, segments_from
from lrtrack.capture.released import RELEASED
from lrtrack.capture.thread_state import current_notes

#: Called before a step that follows a load, with the step that is about to be made, the last step
#: before the load, and whether the user named the step.
OnReturn = Callable[[int, int, bool], None]

#: Stands in for a scheduler's count, so that the next step finds it changed.
_LOADED: Any = object()
_OPTIMIZER, _SCHEDULER, _NAMED = "optimizer", "scheduler", "named"


class Counting(Protocol):
    """What is needed of a capture: its last step, and the steps it has seen."""

    step: int
    made: int

    @property
    def stepping(self) -> Stepping:
        """How the scheduler is stepped."""


class Loads:
    """Observes the loads of one block's optimizer and scheduler.

    Attributes:
        pace: which count the scheduler had at which step.
        offset: the optimizer's own count minus the run's number of steps.
        on_return: see `OnReturn`.
        on_load: called after something was loaded.
        position: the step with which the loaded state continues; None if nothing tells.

    Args:
        capture: counts the steps.
        optimizer: the optimizer of the block.
    """

    def __init__(self, capture: Counting, optimizer: torch.optim.Optimizer) -> None:
        self.pace = Pace()
        self.offset = 0
        self.on_return: OnReturn = lambda step, last, named: None
        self.on_load: Callable[[], None] = lambda: None
        self.position: int | None = None
        self._capture = capture
        self._optimizer = optimizer
        self._loaded: set[str] = set()
        self._step = -1  # the last step before the loads
        self._count: int | None = None  # the optimizer's own count then
        self._at: int | None = None  # the scheduler's count, while a stand-in has its place

    @property
    def is_loaded(self) -> bool:
        """Whether something was loaded since the last step."""
        return self._capture.stepping.at is _LOADED

    @property
    def last(self) -> int:
        """The last step before something was loaded."""
        return self._step

    def restore(self, stored: Mapping[str, Any], last: int, *, same: bool) -> None:
        """Take over what an earlier process has stored of the same run.

        Args:
            stored: the result of `stored`, from a journal.
            last: the last step that the journal holds.
            same: whether the schedule is the same; otherwise its counts are of another one.
        """
        if type(offset := stored.get("offset")) is int:
            self.offset = offset
        if same:
            self.pace = Pace(segments_from(stored.get("segments")))
            self.pace.extend(last)

    def attach(self) -> None:
        """Begin to observe; the capture knows its step by now."""
        optimizer, capture = self._optimizer, self._capture
        with contextlib.suppress(AttributeError):  # a wrapper that lacks what its base class makes
            optimizer.register_load_state_dict_pre_hook(self._before_optimizer)
            optimizer.register_load_state_dict_post_hook(self._after_optimizer)
        if capture.stepping.scheduler is not None:
            torch_patches.listen_to_loads(capture.stepping.scheduler, self._after_scheduler)
        if self._loaded:
            return
        if capture.stepping.at is not None:
            self.pace.begin(capture.step + 1, capture.stepping.at)
        if (count := optimizer_count(optimizer)) is not None:
            self.offset = count - (capture.step + 1)

    def replace_scheduler(self, exchange: Callable[[], None]) -> None:
        """Go on with another scheduler, whose count says nothing of the steps so far.

        Args:
            exchange: gives the capture that scheduler.
        """
        capture = self._capture
        self._rest(capture.step)
        former = capture.stepping.scheduler
        if former is not None:
            torch_patches.stop_listening_to_loads(former, self._after_scheduler)
        exchange()
        later = capture.stepping
        if later.scheduler is not None:
            torch_patches.listen_to_loads(later.scheduler, self._after_scheduler)
        if later.position is not None:
            self.pace.begin(capture.step + 1, later.position)

    def detach(self) -> None:
        """End `attach`. Idempotent."""
        for name, hook in (("pre", self._before_optimizer), ("post", self._after_optimizer)):
            hooks: MutableMapping[int, Any] = getattr(
                self._optimizer, f"_optimizer_load_state_dict_{name}_hooks", {}
            )
            for key, own in list(hooks.items()):
                if own == hook:
                    hooks.pop(key, None)
        scheduler = self._capture.stepping.scheduler
        if scheduler is not None:
            torch_patches.stop_listening_to_loads(scheduler, self._after_scheduler)
        self._disarm()

    def forget(self) -> None:
        """Drop the reference to the optimizer, after `detach`."""
        self._optimizer = RELEASED

    def go_to(self, step: int) -> None:
        """Continue after `step`, which the user names."""
        self._begin()
        self._loaded.add(_NAMED)
        self._arm(step)

    def enter(self, last: int) -> None:
        """Look at what was loaded before a resumed run's block.

        Args:
            last: the last recorded step of the run.
        """
        position = self.found()
        if position is None:
            return
        if last < 0 and optimizer_count(self._optimizer):  # the run's records are elsewhere
            last = position
        if position <= last:
            self.accept(position, last)

    def found(self) -> int | None:
        """The step with which a state continues that was loaded before the block, if one was."""
        stepping = self._capture.stepping
        count = optimizer_count(self._optimizer)
        if count:
            counted_here = is_counted_here(self._optimizer, count)
            return None if counted_here else max(count - self.offset, 0)
        if count is not None or not stepping.at:
            return None
        # An optimizer that has stepped in this process may be in the middle of that count.
        if getattr(self._optimizer, "_opt_called", False) and self._is_latest(stepping.at):
            return None
        return self.pace.step_of(stepping.at)

    def accept(self, position: int, last: int) -> None:
        """Continue with the step `position` before `attach`; `last` is the last recorded one."""
        self._step, self._count, self._loaded = last, None, {_OPTIMIZER}
        self.position = position
        self._arm(position - 1)

    def settle(self) -> None:
        """Begin the step after a load."""
        capture, stepping = self._capture, self._capture.stepping
        named, last = _NAMED in self._loaded, self._step
        self._disarm()
        if stepping.position is not None:
            self.pace.begin(capture.step + 1, stepping.position)
            stepping.at, stepping.moved_at = stepping.position, capture.made
        if (count := optimizer_count(self._optimizer)) is not None:
            self.offset = count - (capture.step + 1)
        self.on_return(capture.step + 1, last, named)

    def move(self) -> None:
        """Note at the start of a step that the scheduler moved otherwise than by 1 a step."""
        capture, stepping = self._capture, self._capture.stepping
        if stepping.at is _LOADED:
            self.settle()
            return
        self._rest(capture.step)
        stepping.move(capture.made)
        if stepping.at is not None:
            self.pace.move(capture.step + 1, stepping.at)

    def stored(self) -> dict[str, Any]:
        """What a later process needs in order to continue, for the journal."""
        self._rest(self._capture.step)
        return {"offset": self.offset, "segments": self.pace.stored()}

    def _before_optimizer(self, optimizer: Any, state: Any) -> None:
        if not current_notes().away:
            torch_patches.quietly("a loaded checkpoint", self._begin)

    def _after_optimizer(self, optimizer: Any) -> None:
        if not current_notes().away:
            torch_patches.quietly("a loaded checkpoint", self._resolve, _OPTIMIZER)

    def _after_scheduler(self) -> None:
        torch_patches.quietly("a loaded checkpoint", self._resolve, _SCHEDULER)

    def _begin(self) -> None:
        if not self._loaded:
            self._step = self._capture.step
            self._count = optimizer_count(self._optimizer)
            self._rest(self._step)

    def _resolve(self, what: str) -> None:
        if what != _OPTIMIZER:  # otherwise its hook has begun before the load
            self._begin()
        self._loaded.add(what)
        if _NAMED in self._loaded:
            self._arm(self._capture.step)
            return
        self.position = position = self._position()
        is_earlier = position is not None and position <= self._step
        self._arm(position - 1 if is_earlier and position is not None else self._step)
        self.on_load()

    def _position(self) -> int | None:
        """The step after the loaded ones; None if nothing tells, or if it is the very first."""
        count = optimizer_count(self._optimizer)
        if count is not None:
            # Steps that were not seen, or that had no gradients, may have moved one against the
            # other. In doubt, the later step abandons less.
            now = self.offset if self._count is None else self._count - (self._step + 1)
            return max(count - min(now, self.offset), 0) or None
        at = self._capture.stepping.position
        if _SCHEDULER not in self._loaded or at is None or at <= 0:
            return None
        return self.pace.step_of(at)

    def _rest(self, step: int) -> None:
        """Tell the pace up to which step the scheduler has moved at each step."""
        capture = self._capture
        if type(capture.stepping.at) is int:
            self.pace.rest(step + 1 - (capture.made - capture.stepping.moved_at))

    def _is_latest(self, count: int) -> bool:
        position = self.pace.step_of(count)
        return position is not None and self.pace.step_of(count + 1) is None

    def _arm(self, step: int) -> None:
        stepping = self._capture.stepping
        self._capture.step = step
        self._at = stepping.position
        stepping.at = _LOADED

    def _disarm(self) -> None:
        if self._capture.stepping.at is _LOADED:
            self._capture.stepping.at = self._at
        self._loaded = set()
        self.position = None
