"""The types of a schedule's parameters, which are checked when a spec is read.

A type is a small object with `fault(value)`, which says what a value must be if it is wrong, and
`plain(value)`, which returns the value as the schedule's class takes it: `100.0`, as sweeps write
some whole numbers, becomes `100`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Protocol

#: The largest number of steps: more than any training makes, and exact as a float.
LONGEST = 10**12
#: The largest learning rate or factor: greater ones overflow within some steps.
LARGEST = 1e6
#: Names of the types of truth values, Python's and NumPy's.
_FLAGS = ("bool", "bool_")
#: The smallest factor by which some class divides.
SMALLEST = 1e-12


class Type(Protocol):
    """What the values of a parameter can be."""

    def fault(self, value: Any) -> str | None:
        """Return what the value must be, as in “must be true or false”; None if it is right."""

    def plain(self, value: Any) -> Any:
        """Return a right value as the schedule's class takes it."""


@dataclass(frozen=True)
class Number:
    """A finite number from `low` to `high`.

    Attributes:
        below: whether `high` itself is refused.
        infinite: whether infinity is accepted.
        real: whether whole numbers become floats, which some class of torch insists on.
    """

    low: float = 0.0
    high: float = LARGEST
    below: bool = False
    infinite: bool = False
    real: bool = False

    def fault(self, value: Any) -> str | None:
        """Return the bounds if the value is not a number within them."""
        if _is_number(value):
            if self.infinite and value == math.inf:
                return None
            if self.low <= value < self.high or (value == self.high and not self.below):
                return None
        lower = f"of at least {self.low:g}"
        if self.low == SMALLEST and not (_is_number(value) and 0 < value < SMALLEST):
            lower = "above 0"
        upper = f" and below {self.high:g}" if self.below else f" and at most {self.high:g}"
        is_told = self.high <= 1 or (_is_number(value) and value > self.high)
        return f"must be a number {lower}{upper if is_told else ''}"

    def plain(self, value: Any) -> Any:
        """Return a Python number."""
        return int(value) if isinstance(value, Integral) and not self.real else float(value)


@dataclass(frozen=True)
class Count:
    """A whole number of something.

    Attributes:
        least: the smallest.
        unit: what is counted.
        endless: whether infinity is accepted.
    """

    least: int = 0
    unit: str = "steps"
    endless: bool = False

    def fault(self, value: Any) -> str | None:
        """Return the bounds if the value is not a whole number within them."""
        if self.endless and _is_number(value) and value == math.inf:
            return None
        if _is_number(value) and self.least <= value <= LONGEST and value == int(value):
            return None
        most = f" and at most {LONGEST}" if _is_number(value) and value > LONGEST else ""
        return f"must be a whole number of {self.unit}, at least {self.least}{most}"

    def plain(self, value: Any) -> int | float:
        """Return a Python integer, or infinity."""
        return math.inf if value == math.inf else int(value)


@dataclass(frozen=True)
class Length:
    """A number of steps, or a share of all steps: a float up to 1.0."""

    def fault(self, value: Any) -> str | None:
        """Return both forms if the value has neither."""
        if self.is_share(value) or Count().fault(value) is None:
            return None
        return (
            "must be a whole number of steps, at least 0, or a share of all steps, from 0.0 to 1.0"
        )

    def plain(self, value: Any) -> Any:
        """Return a float for a share, else an integer."""
        return float(value) if self.is_share(value) else int(value)

    @staticmethod
    def is_share(value: Any) -> bool:
        """Whether the value is a share."""
        return _is_number(value) and not isinstance(value, Integral) and 0 <= value <= 1


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def fault(self, value: Any) -> str | None:
        """Return both values if it is neither."""
        return None if type(value).__name__ in _FLAGS else "must be true or false"

    def plain(self, value: Any) -> bool:
        """Return a Python truth value."""
        return bool(value)


@dataclass(frozen=True)
class Word:
    """One of some words."""

    words: tuple[str, ...]

    def fault(self, value: Any) -> str | None:
        """Return the words if the value is none of them."""
        right = isinstance(value, str) and value in self.words
        return None if right else f"must be one of {', '.join(self.words)}"

    def plain(self, value: Any) -> str:
        """Return the word."""
        return str(value)


@dataclass(frozen=True)
class Many:
    """A list.

    Attributes:
        item: the type of its items.
        least: the smallest number of items.
        rising: whether each item must exceed the one before.
    """

    item: Type
    least: int = 0
    rising: bool = False

    def fault(self, value: Any) -> str | None:
        """Return what is wrong with the list or its first wrong item."""
        if not isinstance(value, list | tuple):
            return "must be a list, as in [1, 2]"
        if len(value) < self.least:
            return f"must be a list of at least {self.least} values"
        for item in value:
            fault = self.item.fault(item)
            if fault is not None:
                return f"must be a list in which each value {fault}"
        if self.rising and any(one >= two for one, two in itertools.pairwise(value)):
            return "must be a list in which each value exceeds the one before"
        return None

    def plain(self, value: Sequence[Any]) -> list[Any]:
        """Return a list of plain values."""
        return [self.item.plain(item) for item in value]


@dataclass(frozen=True)
class PerGroup:
    """One value, or a list with one value per param group."""

    item: Type

    def fault(self, value: Any) -> str | None:
        """Return what is wrong with the value or the list."""
        if isinstance(value, list | tuple):
            return Many(self.item, least=1).fault(value)
        return self.item.fault(value)

    def plain(self, value: Any) -> Any:
        """Return a plain value or a list of them."""
        several = isinstance(value, list | tuple)
        return Many(self.item).plain(value) if several else self.item.plain(value)


@dataclass(frozen=True)
class OrNone:
    """A value that may be `none`, which means that it is not given."""

    inner: Type

    def fault(self, value: Any) -> str | None:
        """Return what is wrong with a value other than `none`."""
        fault = None if value is None else self.inner.fault(value)
        return None if fault is None else f"{fault}, or none"

    def plain(self, value: Any) -> Any:
        """Return the plain value, or None."""
        return None if value is None else self.inner.plain(value)


def _is_number(value: Any) -> bool:
    """Whether a value is a number other than NaN; integers may exceed every float."""
    return isinstance(value, Real) and type(value).__name__ not in _FLAGS and value == value
