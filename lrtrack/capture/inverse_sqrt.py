"""A scheduler with inverse square root decay, which torch lacks."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler


class InverseSqrtLR(LRScheduler):
    """Decays by the inverse square root of the step: `lr · √(timescale / (timescale + step))`.

    After a linear warm-up of `timescale` steps, as in `warmup(steps=4000) ->
    inverse_sqrt(timescale=4000)`, the rate is `lr · √(4000 / n)`, with n counted from the start:
    the schedule of Vaswani et al., "Attention Is All You Need" (2017), section 5.3. A timescale
    that is independent of the warm-up is from Zhai et al., "Scaling Vision Transformers" (2022);
    it needs no training length.

    Args:
        optimizer: the optimizer whose learning rates are set.
        timescale: steps that set the speed of the decay: 3 · timescale steps halve the rate.
        last_epoch: as in torch.

    Raises:
        ValueError: `timescale` is not above 0.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, timescale: float = 10_000, last_epoch: int = -1
    ) -> None:
        if not 0 < timescale < math.inf:
            raise ValueError(f"timescale must be a number of steps above 0, got {timescale!r}")
        self.timescale = timescale
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """Return the rate of each param group at `last_epoch`, from its initial rate."""
        factor = math.sqrt(self.timescale / (self.timescale + self.last_epoch))
        return [base * factor for base in self.base_lrs]
