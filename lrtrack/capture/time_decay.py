"""Decay by the clock: at a fixed rate in training time, however fast the steps are."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler


class TimeDecayLR(LRScheduler):
    """Decays the learning rate by seconds of training, whatever the step rate.

    The rate is what the seconds that have passed make of the initial one, and is set at each
    `step()`. Time runs from when the scheduler is made, or its state is loaded; as a part of a
    chain, from when its turn comes. What lies between `state_dict()` and `load_state_dict()` does
    not count, nor what lies between `pause()` and `resume()`. Copies and pickles run on from the
    time at which they were made.

    Args:
        optimizer: whose learning rates are set.
        rate: decay per second: `lr · exp(-rate · seconds)`.
        half_life: seconds that halve the learning rate.
        every: seconds between cuts: `lr · factor` each time. One of these three.
        factor: with `every`, what a cut multiplies by.
        min_lr: where the decay ends; groups that begin below it stay as they are.
        clock: seconds that never run backwards. Not saved with the state.
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
        given = {"rate": rate, "half_life": half_life, "every": every}
        _check({key: value for key, value in given.items() if value is not None}, factor, min_lr)
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
        """Stop the time, for an evaluation or a queue, until `resume()`."""
        self._before, self._since = self.seconds, None

    def resume(self) -> None:
        """Let the time run again; nothing where it runs already."""
        if self._since is None:
            self._since = self._clock()

    def use_clock(self, clock: Callable[[], float]) -> None:
        """Go on by another `clock` of seconds, from the time that has passed."""
        self._before, running = self.seconds, self._since is not None
        self._clock = clock
        self._since = clock() if running else None

    def get_lr(self) -> list[Any]:
        """The rate of each param group at the last step's time, from its initial one."""
        if self._get_lr_called_within_step:
            self._look()
        factor = self._factor(self._at)
        return [self._floored(base, base * factor) for base in self.base_lrs]

    def _look(self) -> None:
        if self.last_epoch == 0:  # it begins: now, or in a chain when the part before it ends
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
        """All but the optimizer and the clock, with the seconds of training up to now."""
        state = {**super().state_dict(), "_before": self.seconds}
        del state["_clock"], state["_since"]
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state: its seconds of training, with the clock running from now."""
        paused = self._since is None
        super().load_state_dict(dict(state_dict))
        self._since = None if paused else self._clock()

    def __deepcopy__(self, memo: dict[int, Any]) -> TimeDecayLR:
        memo[id(self._clock)] = self._clock  # whose time it is does not change by a copy
        copied = memo[id(self)] = type(self).__new__(type(self))
        copied.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """As `state_dict`, with optimizer and clock, whose time means nothing elsewhere."""
        running = self._since is not None
        return {**self.__dict__, "_before": self.seconds, "_since": running}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._since = self._clock() if state["_since"] else None


def _check(given: Mapping[str, float], factor: float | None, min_lr: float) -> None:
    if len(given) != 1:
        told = ", ".join(given) or "none"
        raise ValueError(f"give one of rate, half_life and every; got {told}")
    ((name, value),) = given.items()
    if not 0 < value < math.inf:
        unit = "per second" if name == "rate" else "in seconds"
        raise ValueError(f"{name} is {unit}, above 0; got {value!r}")
    if factor is not None and "every" not in given:
        raise ValueError("factor is what each cut multiplies by: it belongs to every=…")
    if factor is not None and not 0 < factor < 1:
        raise ValueError(f"factor is between 0 and 1, got {factor!r}")
    if not 0 <= min_lr < math.inf:
        raise ValueError(f"min_lr is a learning rate from 0 on, got {min_lr!r}")
