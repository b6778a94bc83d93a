"""Why a block saw no optimizer step, or none any more: what happened instead.

Steps of other optimizers are noted until the first own step, and again if many `backward()` calls
follow each other without one, so that ordinary steps cost nothing.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch._C import _current_graph_task_id as _pass
from torch.optim.optimizer import _global_optimizer_post_hooks as _hooks
from torch.optim.optimizer import register_optimizer_step_post_hook

from lrtrack.capture.thread_state import Notes, current_notes

#: Packages whose engines step optimizers in ways that torch's hooks do not see.
_ENGINES = ("deepspeed", "colossalai", "megatron")
#: So many `backward()` calls without a step are unusual at first.
_MANY = 4

_open: list[Unseen] = []


class Capturing(Protocol):
    """What is needed of a capture.

    Attributes:
        begun: whether an own step was seen since steps of other optimizers are noted.
    """

    begun: bool


class Unseen:
    """Notes steps of other optimizers through torch's global hook.

    Attributes:
        own: ids of the tracked optimizers and their containers, whose steps are not noted.
        captures: those of the tracked optimizers.
        steps: class name → steps that other optimizers made since the last own step.
        optimizers: their ids.
        in_backward: whether a step was made inside `backward()`.
        shares: whether one of them has a parameter of the tracked optimizers.
        names: the class names of the tracked optimizers.
        engines: packages whose engines may make the steps instead.
        backward_calls: once the block is over, the `backward()` calls since the last own step; 0
            where they are no more than usual before a step.
    """

    def __init__(
        self, optimizers: Iterable[torch.optim.Optimizer], containers: Iterable[Any] = ()
    ) -> None:
        optimizers = list(optimizers)
        self.own = {id(own) for own in (*optimizers, *containers)}
        self.names = tuple(dict.fromkeys(type(own).__name__ for own in optimizers))
        self.engines: tuple[str, ...] = _ENGINES
        self.captures: list[Capturing] = []
        self.backward_calls = 0
        self._usual = 0  # the most backward calls before an own step, where it is known
        self._parameters = {
            id(p) for own in optimizers for group in own.param_groups for p in group["params"]
        }
        self._clear()

    def _clear(self) -> None:
        self.in_backward = self.shares = False
        self.steps: Counter[str] = Counter()
        self.optimizers: set[int] = set()

    def start(self) -> None:
        """Begin to note steps. Idempotent, because the captures of several optimizers share it."""
        if self not in _open:
            _open.append(self)
        self._listen()

    def seen(self, here: Notes) -> None:
        """Note an own step, which begins: what happened before it has an end."""
        calls = here.count if here.loss is not None else 0
        self._usual = max(self._usual, calls, 1)
        self._clear()
        self._stop_listening()

    def stop(self, here: Notes) -> None:
        """End the observation. Idempotent.

        Args:
            here: the notes of the thread that makes the steps.
        """
        self._stop_listening()
        if self in _open:
            _open.remove(self)
            calls = here.count if here.loss is not None and not here.used else 0
            self.backward_calls = calls if calls > 2 * self._usual else 0

    def listen_again(self, calls: int) -> None:
        """Note other steps once more if so many `backward()` calls without a step are unusual."""
        if calls > 2 * self._usual:
            self._listen()
            for capture in self.captures:
                capture.begun = False

    def _listen(self) -> None:
        if self._note not in _hooks.values():
            register_optimizer_step_post_hook(self._note)

    def _stop_listening(self) -> None:
        # it needs no handle, as an interrupt may come before that is kept
        for key, hook in list(_hooks.items()):
            if hook == self._note:
                _hooks.pop(key, None)

    def _note(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if id(optimizer) in self.own or current_notes().away:
            return
        self.steps[type(optimizer).__name__] += 1
        self.in_backward = self.in_backward or _pass() != -1
        if id(optimizer) not in self.optimizers:
            self.optimizers.add(id(optimizer))
            groups = getattr(optimizer, "param_groups", [])
            parameters = {id(p) for group in groups for p in group["params"]}
            self.shares = self.shares or bool(parameters & self._parameters)

    def engine(self) -> str:
        """The name of an imported engine that may step optimizers; empty if there is none."""
        return next((name for name in self.engines if name in sys.modules), "")


def counted(calls: int) -> int:
    """Return the number of `backward()` calls that follow each other without a step.

    If they are many, the open blocks begin to look for other steps.
    """
    if calls >= _MANY and calls & (calls - 1) == 0:
        for unseen in list(_open):
            unseen.listen_again(calls)
    return calls
