"""What only the training process can know, noted at almost no cost: for diagnoses at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from lrtrack.capture import torch_patches
from lrtrack.capture.norms import Group, group_name

#: Groups without a gradient so far are looked at after each of the first steps, then after every
#: `_STRIDE`th: a prime, so that groups that take turns in any other rhythm are seen.
_ALWAYS, _STRIDE = 8, 17


class Stepping:
    """How a scheduler is stepped, seen by what it counts: nothing of it is wrapped.

    Args:
        schedulers: it and all inside it, the outermost first.
        optimizer: that of the block.

    Attributes:
        scheduler: the first of them that counts its steps in `last_epoch`; None where none does.
        begun: what it counted at the begin of the block; None where nothing counts.
        at: what it counted when the last optimizer step began.
        moves: optimizer steps before which it had moved, `moved_at` the last of them.
        jumps: steps at once, where they were others than one → how often.
        early: steps before the optimizer's first ever.
    """

    def __init__(self, schedulers: Sequence[Any], optimizer: torch.optim.Optimizer) -> None:
        self.scheduler: Any = next((each for each in schedulers if _count(each) is not None), None)
        self._optimizer = optimizer
        self._fresh = not getattr(optimizer, "_opt_called", False)  # torch's own note
        self.begun = self.at = self.position
        self.moves = self.moved_at = self.early = 0
        self.jumps: Counter[int] = Counter()

    @property
    def position(self) -> int | None:
        """What it counts now."""
        return None if self.scheduler is None else _count(self.scheduler)

    def move(self, made: int) -> None:
        """Note, as an optimizer step begins, that it has moved since the last one began.

        Args:
            made: optimizer steps made in the block so far.
        """
        at = self.scheduler.last_epoch
        steps, self.at = at - self.at, at
        self.moves += 1
        self.moved_at = made
        if made == 0 and self._fresh and not torch_patches.attempted(self._optimizer):
            self.early = steps
        elif steps != 1:
            self.jumps[steps] += 1


class Unreached:
    """The param groups that have had no gradient yet.

    Args:
        groups: an optimizer's; one that is added later is not looked at.

    Attributes:
        waiting: index → group.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self.waiting = {at: group for at, group in enumerate(groups) if group["params"]}

    def look(self, steps: int) -> None:
        """Look after a step, while its gradients are there; after most steps do nothing."""
        if steps < _ALWAYS or steps % _STRIDE == 0:
            self.look_now()

    def look_now(self) -> None:
        """Look at the gradients that are there."""
        for at, group in list(self.waiting.items()):
            if any(parameter.grad is not None for parameter in group["params"]):
                del self.waiting[at]

    def names(self) -> Iterator[str]:
        """Those that have had none, but for groups that want none."""
        for at, group in self.waiting.items():
            if any(parameter.requires_grad for parameter in group["params"]):
                yield group_name(group, at)


def _count(scheduler: Any) -> int | None:
    """How many steps a scheduler counts; None for one that does not count as torch's do."""
    try:
        found = vars(scheduler).get("last_epoch")
    except TypeError:  # no attributes of its own
        return None
    return found if type(found) is int else None
