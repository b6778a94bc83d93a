"""A scheduler that decays the learning rate by training time instead of by steps."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler


class TimeDecayLR(LRScheduler):
    """Decays the learning rate by seconds of training, independent of the step rate.

    Each `step()` sets the rate from the initial rate and the elapsed seconds. Time starts when the
    scheduler is created or its state is loaded; in a chain, when its part begins. The time between
    `state_dict()` and `load_state_dict()` and between `pause()` and `resume()` does not count.
    Copies and pickles continue from the time at which they were made.

    Args:
        optimizer: the optimizer whose learning rates are set.
        rate: decay per second: `lr · exp(-rate · seconds)`.
        half_life: seconds that halve the learning rate.
        every: seconds between cuts: `lr · factor` each time. Give exactly one of these three.
        factor: with `every`, the multiplier of each cut.
        min_lr: the minimum learning rate; groups that start below it are left alone.
        clock: returns monotonic seconds. Not saved with the state.
        last_epoch: as in torch.

    Raises:
        ValueError: not exactly one of `rate`, `half_life` and `every`, or a value out of range.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        rate: float | None = None,
        half_life: float | None = None,
        every: float | None = None,
        factor: float | None = None,
        min_lr: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        last_epoch: int = -1,
    ) -> None:
        speeds = {"rate": rate, "half_life": half_life, "every": every}
        _check({key: value for key, value in speeds.items() if value is not None}, factor, min_lr)
        self.rate, self.half_life, self.every = rate, half_life, every
        self.factor = 0.5 if every is not None and factor is None else factor
        self.min_lr = min_lr
        self._clock = clock
        self._before = 0.0  # seconds of training up to `_since`
        self._since: float | None = clock()  # None: paused
        self._at = 0.0  # seconds of training at the last step
        super().__init__(optimizer, last_epoch)

    @property
    def seconds(self) -> float:
        """Seconds of training that have passed by now."""
        if self._since is None:
            return self._before
        return self._before + max(0.0, self._clock() - self._since)

    def pause(self) -> None:
        """Stop the clock until `resume()`, for example during an evaluation."""
        self._before, self._since = self.seconds, None

    def resume(self) -> None:
        """Start the clock again; does nothing if it is running."""
        if self._since is None:
            self._since = self._clock()

    def use_clock(self, clock: Callable[[], float]) -> None:
        """Switch to another `clock` of seconds and keep the elapsed time."""
        self._before, running = self.seconds, self._since is not None
        self._clock = clock
        self._since = clock() if running else None

    def get_lr(self) -> list[Any]:
        """Compute each param group's rate at the time of the last step."""
        if self._get_lr_called_within_step:
            self._look()
        factor = self._factor(self._at)
        return [self._floored(base, base * factor) for base in self.base_lrs]

    def _look(self) -> None:
        if self.last_epoch == 0:  # starts now; in a chain, when the previous part ends
            self._before = 0.0
            self._since = None if self._since is None else self._clock()
            self._at = 0.0
        else:
            self._at = self.seconds

    def _factor(self, seconds: float) -> float:
        if self.rate is not None:
            return math.exp(-self.rate * seconds)
        if self.half_life is not None:
            return float(0.5 ** (seconds / self.half_life))
        assert self.every is not None
        assert self.factor is not None
        return float(self.factor ** (seconds // self.every))

    def _floored(self, base: Any, decayed: Any) -> Any:
        return decayed if decayed >= self.min_lr else min(base, self.min_lr)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and the clock, with the seconds of training so far."""
        state = {**super().state_dict(), "_before": self.seconds}
        del state["_clock"], state["_since"]
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the seconds of training from a state; the clock runs from now."""
        paused = self._since is None
        super().load_state_dict(dict(state_dict))
        self._since = None if paused else self._clock()

    def __deepcopy__(self, memo: dict[int, Any]) -> TimeDecayLR:
        memo[id(self._clock)] = self._clock  # a copy shares the clock
        copied = memo[id(self)] = type(self).__new__(type(self))
        copied.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """Like `state_dict` with optimizer and clock; absolute clock times are left out."""
        running = self._since is not None
        return {**self.__dict__, "_before": self.seconds, "_since": running}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._since = self._clock() if state["_since"] else None


def _check(speeds: Mapping[str, float], factor: float | None, min_lr: float) -> None:
    if len(speeds) != 1:
        names = ", ".join(speeds) or "none"
        raise ValueError(f"give exactly one of rate, half_life and every; got {names}")
    ((name, value),) = speeds.items()
    if not 0 < value < math.inf:
        unit = "per second" if name == "rate" else "in seconds"
        raise ValueError(f"{name} ({unit}) must be above 0, got {value!r}")
    if factor is not None and "every" not in speeds:
        raise ValueError("factor multiplies the rate at each cut, so it needs every=…")
    if factor is not None and not 0 < factor < 1:
        raise ValueError(f"factor must be between 0 and 1, got {factor!r}")
    if not 0 <= min_lr < math.inf:
        raise ValueError(f"min_lr must be at least 0, got {min_lr!r}")
