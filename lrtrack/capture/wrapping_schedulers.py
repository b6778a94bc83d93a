"""Schedulers that step another one: less often than the optimizer, or from a later step on."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, LRScheduler


class _WrappingLR(LRScheduler):
    """Steps another scheduler, which alone changes the rates."""

    def __init__(self, optimizer: torch.optim.Optimizer, scheduler: LRScheduler) -> None:
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.base_lrs = scheduler.base_lrs
        self.last_epoch = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def _inner_step(self, step: int) -> int:
        """Return at which step the inner scheduler is at a step of this one."""
        raise NotImplementedError

    def _initial_step(self) -> None:
        # SequentialLR takes all initial steps back and repeats that of its first part.
        self.scheduler.last_epoch -= 1
        self.scheduler._initial_step()
        self.last_epoch = 0
        self._last_lr = self.scheduler.get_last_lr()

    def _update_lr(self, epoch: int | None = None) -> None:
        if epoch is not None:  # SequentialLR starts a part with the step 0
            self.last_epoch = epoch
            self._move(self._inner_step(epoch))

    def _move(self, step: int) -> None:
        if isinstance(self.scheduler, CosineAnnealingWarmRestarts):
            self.scheduler.step(step)  # the only class of torch whose `step` keeps state
        else:
            self.scheduler._update_lr(step)
        self._last_lr = self.scheduler.get_last_lr()

    def get_last_lr(self) -> list[Any]:
        """Return the rates that the last step set."""
        return list(self._last_lr)

    def get_lr(self) -> list[Any]:
        """Return the current rates, which only the inner scheduler changes."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return the state of this scheduler and of the inner one."""
        own = {k: v for k, v in vars(self).items() if k not in ("optimizer", "base_lrs")}
        return {**own, "scheduler": self.scheduler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        inner = state_dict["scheduler"]
        self.scheduler.load_state_dict(inner)
        own = {key: value for key, value in state_dict.items() if key != "scheduler"}
        self.__dict__.update(own)


class IntervalLR(_WrappingLR):
    """Steps another scheduler once in `interval` steps, as a training loop does once per epoch.

    Args:
        optimizer: the optimizer whose learning rates are set.
        scheduler: the scheduler to step; it must belong to the same optimizer.
        interval: the number of optimizer steps between two of its steps.

    Raises:
        ValueError: `interval` is not a whole number, at least 1.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, scheduler: LRScheduler, interval: int
    ) -> None:
        if isinstance(interval, bool) or not isinstance(interval, int) or interval < 1:
            raise ValueError(f"interval must be a whole number of steps, at least 1: {interval!r}")
        super().__init__(optimizer, scheduler)
        self.interval = interval

    def _inner_step(self, step: int) -> int:
        return step // self.interval

    def step(self, epoch: int | None = None) -> None:
        """Count one optimizer step."""
        if epoch is not None:
            self._update_lr(epoch)
            return
        self.last_epoch += 1
        if self.last_epoch % self.interval == 0:
            self.scheduler.step()
            self._last_lr = self.scheduler.get_last_lr()


class SkipLR(_WrappingLR):
    """Begins another scheduler at its step `skip`.

    That is what a loop does whose cosine counts the steps of the warm-up before it, as timm's does.

    Args:
        optimizer: the optimizer whose learning rates are set.
        scheduler: the scheduler to step; it must belong to the same optimizer.
        skip: how many of its steps are left out.

    Raises:
        ValueError: `skip` is not a whole number, at least 0.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, scheduler: LRScheduler, skip: int) -> None:
        if isinstance(skip, bool) or not isinstance(skip, int) or skip < 0:
            raise ValueError(f"skip must be a whole number of steps, at least 0: {skip!r}")
        super().__init__(optimizer, scheduler)
        self.skip = skip
        self._move(skip)

    def _inner_step(self, step: int) -> int:
        return step + self.skip

    def _initial_step(self) -> None:
        super()._initial_step()
        self._move(self.skip)

    def step(self, epoch: int | None = None) -> None:
        """Step the inner scheduler."""
        if epoch is not None:
            self._update_lr(epoch)
            return
        self.last_epoch += 1
        self.scheduler.step()
        self._last_lr = self.scheduler.get_last_lr()
