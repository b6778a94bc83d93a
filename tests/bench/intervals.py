"""Medians over rounds with 95 % intervals, and what they say about a goal.

The interval of a median is that of order statistics: it reaches from the k-th smallest to the k-th
largest of the rounds, with the largest k that holds the median in at least 95 % of cases. It
assumes nothing about how the rounds are distributed, and draws nothing at random. Ten rounds give
the second smallest and the second largest, which hold the median in 97.9 % of cases; fewer than six
rounds give no interval at all.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95
REACHED, WITHIN_NOISE, MISSED = "reached", "reached within noise", "missed"


@dataclass(frozen=True)
class Middle:
    """The median of a figure over rounds.

    Attributes:
        median: the median.
        low: the lower end of its 95 % interval; None with fewer than six rounds.
        high: the upper end.
        smallest: the smallest of the rounds.
        largest: the largest of the rounds.
        rounds: how many rounds there are.
    """

    median: float
    low: float | None
    high: float | None
    smallest: float
    largest: float
    rounds: int


def rank(rounds: int, level: float = LEVEL) -> int:
    """Returns the k of the interval from the k-th smallest to the k-th largest of the rounds.

    Returns 0 if not even the whole range holds the median that often.
    """
    outside, found = 0.0, 0
    for k in range(1, rounds // 2 + 1):
        outside += 2 * math.comb(rounds, k - 1) / 2**rounds
        if 1 - outside < level:
            break
        found = k
    return found


def middle(values: Sequence[float]) -> Middle:
    """Returns the median of the rounds with its interval.

    Raises:
        ValueError: there are no rounds.
    """
    if not values:
        raise ValueError("there are no rounds")
    ordered, k = sorted(values), rank(len(values))
    return Middle(
        statistics.median(ordered),
        ordered[k - 1] if k else None,
        ordered[-k] if k else None,
        ordered[0],
        ordered[-1],
        len(ordered),
    )


def verdict(found: Middle, goal: float, *, at_least: bool = False) -> str:
    """Returns whether a goal is reached.

    A goal is reached if the whole interval is on its side, and reached within noise if only the
    median is: other rounds may then miss it.

    Args:
        found: the median with its interval.
        goal: the largest value that reaches the goal.
        at_least: whether `goal` is the smallest value instead.
    """
    worst = found.low if at_least else found.high
    sign = -1 if at_least else 1
    if sign * found.median > sign * goal:
        return MISSED
    return WITHIN_NOISE if worst is None or sign * worst > sign * goal else REACHED
