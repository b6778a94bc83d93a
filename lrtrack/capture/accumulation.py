"""The number of `backward()` calls behind a step's loss, and the mean that follows from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lrtrack.capture.device_scalars import scaled

#: Called with the number of backward calls behind a step's loss. Returns the factor for the loss,
#: or None if the divisor of the losses is unknown.
Weight = Callable[[int], float | None]


class LossCount:
    """Records `loss_count`, or scales the loss if a framework reports how it was divided.

    Attributes:
        weight: None in plain loops, where `loss` is the sum and `loss_count` is recorded.
        counting: whether any step so far had another number of backward calls than one. From that
            step on, every step records its count. A loop with one call per step has no such metric.
        of_closure: the number of calls behind the loss that a step's closure returned or left.
        idle: whether a step with one backward call needs no further work; an attribute, because
            each step reads it.
    """

    def __init__(self) -> None:
        self._weight: Weight | None = None
        self._counting = False
        self.of_closure = 1
        self._refresh()

    def _refresh(self) -> None:
        self.idle = self._weight is None and not self._counting

    @property
    def weight(self) -> Weight | None:
        """See above."""
        return self._weight

    @weight.setter
    def weight(self, weight: Weight | None) -> None:
        self._weight = weight
        self._refresh()

    @property
    def counting(self) -> bool:
        """See above."""
        return self._counting

    @counting.setter
    def counting(self, counting: bool) -> None:
        self._counting = counting
        self._refresh()

    def add(self, metrics: dict[str, Any], count: int) -> None:
        """Complete a step's `metrics` if they have a loss from `count` backward calls."""
        factor = None if self.weight is None else self.weight(count)
        if factor is None:
            self.counting = self.counting or count != 1
            if self.counting:
                metrics["loss_count"] = float(count)
        elif factor != 1.0:
            metrics["loss"] = scaled(metrics["loss"], factor)


class FixedDivisor:
    """The weight of a loss whose parts a framework divides by its number of accumulated batches.

    Frameworks also divide by that number in an incomplete group, such as the one at the end of an
    epoch. There the sum of the parts is smaller than their mean.

    Args:
        batches: returns the number that the framework currently divides by.
    """

    def __init__(self, batches: Callable[[], int]) -> None:
        self._batches = batches
        self._divisor = self._full = 0

    def __call__(self, count: int) -> float | None:
        """Return the factor for the sum over `count` calls; None without accumulation."""
        divisor = int(self._batches())
        if divisor <= 1:
            return None
        if divisor != self._divisor:
            self._divisor = self._full = divisor
        if count > self._full:
            if count % divisor:  # several losses per batch, and no complete group so far
                return 1.0
            self._full = count
        return self._full / count


def exact(count: int) -> float:
    """Return the weight for frameworks that divide by the true number of batches themselves."""
    return 1.0
