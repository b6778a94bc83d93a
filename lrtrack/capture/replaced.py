"""Which of several tracked optimizers another one has replaced, as where a loop builds it anew.

Steps of others are noted only while a tracked optimizer has been silent for longer than is usual
for it, so that ordinary rounds cost nothing more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch.optim.optimizer import _global_optimizer_post_hooks as _hooks
from torch.optim.optimizer import register_optimizer_step_post_hook

from lrtrack.capture.thread_state import current_notes

#: Silent optimizers are looked for once in so many rounds.
_STRIDE = 4


class Replaced:
    """Notes steps that other optimizers make with the parameters of silent ones.

    An optimizer stands for a silent one if it has one of its parameters, or as many of the same
    shapes, as those of a model that was built anew.

    Args:
        optimizers: the tracked ones, in the order of their places.
        containers: objects that step several of them.

    Attributes:
        steps: place of a silent optimizer → class name of others → steps that they made since.
        others: place → their ids.
    """

    def __init__(
        self, optimizers: Sequence[torch.optim.Optimizer], containers: Iterable[Any] = ()
    ) -> None:
        self.steps: dict[int, Counter[str]] = {}
        self.others: dict[int, set[int]] = {}
        self._own = {id(own) for own in (*optimizers, *containers)}
        parameters = [_parameters(own) for own in optimizers]
        self._ids = [{id(p) for p in own} for own in parameters]
        self._shapes = [[p.shape for p in own] for own in parameters]
        self._last = [0] * len(parameters)  # the round of each one's last step, counted from 1
        self._usual = [1] * len(parameters)  # the most rounds from one step to the next

    def stepped(self, at: int, made: int) -> None:
        """Note a step of the optimizer at a place, in the `made`-th round."""
        self._usual[at] = max(self._usual[at], made - self._last[at])
        self._last[at] = made
        if at in self.steps:  # it was only silent
            del self.steps[at], self.others[at]
            if not self.steps:
                self.stop()

    def look(self, made: int) -> None:
        """Begin to note steps of others if an optimizer is silent; skips most rounds."""
        if made % _STRIDE:
            return
        for at, last in enumerate(self._last):
            if at not in self.steps and made - last > 2 * self._usual[at]:
                self.steps[at], self.others[at] = Counter(), set()
        if self.steps and self._note not in _hooks.values():
            register_optimizer_step_post_hook(self._note)

    def stop(self) -> None:
        """Note no further steps; what was counted stays. Idempotent."""
        for key, hook in list(_hooks.items()):
            if hook == self._note:
                _hooks.pop(key, None)

    def rounds_since(self, at: int, made: int) -> int:
        """Return how many rounds have followed the last step of the optimizer at a place."""
        return made - self._last[at]

    def _note(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if id(optimizer) in self._own or current_notes().away:
            return
        parameters = _parameters(optimizer)
        for at, steps in self.steps.items():
            if self._stands_for(at, parameters):
                steps[type(optimizer).__name__] += 1
                self.others[at].add(id(optimizer))

    def _stands_for(self, at: int, parameters: list[Any]) -> bool:
        if any(id(p) in self._ids[at] for p in parameters):
            return True
        shapes = self._shapes[at]
        alike = len(parameters) == len(shapes) and [p.shape for p in parameters] == shapes
        return alike and not any(id(p) in ids for ids in self._ids for p in parameters)


def _parameters(optimizer: Any) -> list[Any]:
    groups = getattr(optimizer, "param_groups", [])
    return [p for group in groups for p in group["params"]]
