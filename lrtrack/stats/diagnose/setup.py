"""What was set before a run's first step, as far as rules need it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lrtrack.fields import flatten
from lrtrack.records import Run

#: The last parts of names under which settings state the number of classes.
_CLASSES = ("num_classes", "n_classes", "nb_classes", "classes", "num_labels", "n_labels")
#: The most classes that there are.
_MOST = 10_000_000


@dataclass(frozen=True)
class Setup:
    """What was set before the first step.

    Attributes:
        rate: the optimizer's learning rate before the schedule changed it; None if unknown.
        classes: the number of classes that `config` states; None if none, or several.
        is_alone: whether one optimizer minimizes the loss, as far as is known: the run has no
            prefix and no other optimizers.
    """

    rate: float | None = None
    classes: int | None = None
    is_alone: bool = True

    @property
    def guess(self) -> float | None:
        """The cross-entropy of a constant guess, ln(classes); None where they are unknown."""
        return None if self.classes is None else math.log(self.classes)


def setup_of(run: Run, name: str = "", *, several: bool = False) -> Setup:
    """Return what was set for one optimizer.

    Args:
        name: the optimizer's name, where there are several.
    """
    rate = run.optimizer.get(f"{name}.lr" if name else "lr")
    is_rate = isinstance(rate, int | float) and not isinstance(rate, bool)
    return Setup(
        rate=float(rate) if is_rate else None,  # type: ignore[arg-type]
        classes=_classes(run),
        is_alone=not run.prefix and not several,
    )


def _classes(run: Run) -> int | None:
    numbers = {
        value
        for field, value in flatten(run.config).items()
        if str(field).rpartition(".")[2].lower() in _CLASSES
        and type(value) is int
        and 2 <= value <= _MOST
    }
    return numbers.pop() if len(numbers) == 1 else None
