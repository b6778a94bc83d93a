"""How many `backward()` calls a step's loss comes from, and what follows for its mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lrtrack.capture.device_scalars import scaled

#: Called with the number of backward calls behind a step's loss; returns what the loss is
#: multiplied by, or None where nobody knows what the losses were divided by.
Weight = Callable[[int], float | None]


class LossCount:
    """Records `loss_count`, or weights the loss where a framework says how it was divided.

    Attributes:
        weight: None in plain loops: there `loss` is the sum and `loss_count` is recorded.
        counting: a step's loss came from another number of calls than one, so that from this step
            on each has its count. A loop with one call per step never has the metric.
        of_closure: calls behind the loss that a step's closure returned, or left.
    """

    def __init__(self) -> None:
        self.weight: Weight | None = None
        self.counting = False
        self.of_closure = 1

    @property
    def idle(self) -> bool:
        """Whether a step with one backward call needs nothing."""
        return self.weight is None and not self.counting

    def add(self, metrics: dict[str, Any], count: int) -> None:
        """Complete a step's `metrics`, which have a loss from `count` backward calls."""
        factor = None if self.weight is None else self.weight(count)
        if factor is None:
            self.counting = self.counting or count != 1
            if self.counting:
                metrics["loss_count"] = float(count)
        elif factor != 1.0:
            metrics["loss"] = scaled(metrics["loss"], factor)


class FixedDivisor:
    """The weight of a loss whose parts a framework divides by its number of accumulated batches.

    Frameworks divide by that number in an incomplete group too, as at the end of an epoch; there
    the sum of the parts is less than their mean.

    Args:
        batches: returns the number that the framework divides by, as it stands now.
    """

    def __init__(self, batches: Callable[[], int]) -> None:
        self._batches = batches
        self._divisor = self._full = 0

    def __call__(self, count: int) -> float | None:
        """What the sum over `count` calls is multiplied by; None without accumulation."""
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
    """The weight where a framework divides by the true number of batches itself."""
    return 1.0
