"""Cheap observations in the training process, for the diagnoses at the end of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from lrtrack.capture import torch_patches
from lrtrack.capture.group_names import group_names
from lrtrack.capture.norms import Group
from lrtrack.capture.released import RELEASED

#: Groups without a gradient so far are checked after each of the first steps, then after every
#: `_STRIDE`th. It is a prime, so that groups that alternate at any other period are checked.
_ALWAYS, _STRIDE = 8, 17


class Stepping:
    """How a scheduler is stepped, derived from its own counter without wrapping anything.

    Args:
        schedulers: the scheduler and all schedulers inside it, the outermost first.
        optimizer: the optimizer of the block.

    Attributes:
        scheduler: the first scheduler that counts its steps in `last_epoch`; None if none does.
        begun: its count at the start of the block; None if nothing counts.
        at: its count when the last optimizer step began.
        moves: number of optimizer steps before which it had moved; `moved_at` is the last of them.
        jumps: number of scheduler steps at once, if not one → how often.
        early: scheduler steps before the optimizer's first step.
    """

    def __init__(self, schedulers: Sequence[Any], optimizer: torch.optim.Optimizer) -> None:
        self.scheduler: Any = next((part for part in schedulers if _count(part) is not None), None)
        self._optimizer = optimizer
        self._fresh = not getattr(optimizer, "_opt_called", False)  # torch's own flag
        self.begun = self.position
        self.at: Any = self.begun
        self.moves = self.moved_at = self.early = 0
        self.jumps: Counter[int] = Counter()

    @property
    def position(self) -> int | None:
        """The scheduler's current count."""
        return None if self.scheduler is None else _count(self.scheduler)

    def forget(self) -> None:
        """Drop the references to scheduler and optimizer; what was counted stays."""
        self.scheduler, self._optimizer = None, RELEASED

    def take_over(self, former: Stepping, made: int) -> None:
        """Go on with what was counted of the scheduler that this one's replaces.

        Args:
            former: its counts.
            made: optimizer steps made in the block so far.
        """
        self.moves, self.early, self.jumps = former.moves, former.early, former.jumps
        self.moved_at = made
        self._fresh = False

    def move(self, made: int) -> None:
        """Note at the start of an optimizer step that the scheduler moved since the previous one.

        Args:
            made: optimizer steps made in the block so far.
        """
        at = self.scheduler.last_epoch
        steps, self.at = at - self.at, at
        self.moves += 1
        self.moved_at = made
        if made == 0 and self._fresh and not torch_patches.attempts(self._optimizer):
            self.early = steps
        elif steps != 1:
            self.jumps[steps] += 1


class Unreached:
    """The param groups that have not had a gradient yet.

    Args:
        groups: the optimizer's param groups; groups that are added later are not checked.

    Attributes:
        waiting: index → group.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self._names = group_names(groups)
        self.waiting = {at: group for at, group in enumerate(groups) if group["params"]}

    def look(self, steps: int) -> None:
        """Check the groups after a step, while its gradients exist; skips most steps."""
        if steps < _ALWAYS or steps % _STRIDE == 0:
            self.look_now()

    def look_now(self) -> None:
        """Check the gradients that exist now."""
        for at, group in list(self.waiting.items()):
            if any(parameter.grad is not None for parameter in group["params"]):
                del self.waiting[at]

    def names(self) -> Iterator[str]:
        """Return the names of groups that have had no gradient although they require one."""
        for at, group in self.waiting.items():
            if any(parameter.requires_grad for parameter in group["params"]):
                yield self._names[at]


def _count(scheduler: Any) -> int | None:
    """Return a scheduler's step count; None if it does not count as torch's schedulers do."""
    try:
        count = vars(scheduler).get("last_epoch")
    except TypeError:  # no attributes of its own
        return None
    return count if type(count) is int else None
