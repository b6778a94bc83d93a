"""Groups with their figures, and in which order they stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lrtrack.records import one_by_one
from lrtrack.stats.groups import Group
from lrtrack.stats.intervals import spread_of
from lrtrack.stats.result import Spread
from lrtrack.stats.significance import Sample
from lrtrack.stats.summary import Mode, RunSummary, summarise

#: Means that lie closer, beside the largest of the values, differ by rounding only.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Entry:
    """A group with its figures, on the way to a `ScheduleSummary`.

    Attributes:
        sample: what is tested: diverged runs count as infinitely bad, runs without the metric
            are left out.
    """

    group: Group
    runs: tuple[RunSummary, ...]
    final: Spread
    sample: Sample

    @property
    def diverged(self) -> int:
        """How many runs diverged."""
        return sum(run.diverged for run in self.runs)


def entry_of(group: Group, metric: str, mode: Mode, target: float | None) -> Entry:
    """Work out a group's figures."""
    runs = tuple(summarise(each, metric, mode, target) for each in one_by_one(group.histories))
    worst = math.inf if mode == "min" else -math.inf
    tested = [(run, run.final) for run in runs if run.diverged or run.final is not None]
    sample = Sample(
        values=tuple(worst if run.diverged or v is None else v for run, v in tested),
        seeds=tuple(run.seed for run, _ in tested),
    )
    final = spread_of([None if run.diverged else run.final for run in runs])
    return Entry(group, runs, final, sample)


def ranked(entries: Sequence[Entry], mode: Mode) -> list[tuple[int, Entry]]:
    """Put `entries` in order, best first, each with its rank from 1.

    Those that nothing but rounding tells apart share a rank, as in 1, 2, 2, 4, and stand in the
    order of their labels.
    """
    ties: list[list[Entry]] = []
    for entry in sorted(entries, key=lambda entry: _standing(entry, mode)):
        if ties and _equal(ties[-1][0], entry, mode):
            ties[-1].append(entry)
        else:
            ties.append([entry])
    placed: list[tuple[int, Entry]] = []
    for tie in ties:
        rank = len(placed) + 1
        placed += [(rank, entry) for entry in sorted(tie, key=lambda entry: entry.group.label)]
    return placed


def _standing(entry: Entry, mode: Mode) -> tuple[int, float, float]:
    """Smaller is better: first what has a mean, then what diverged, then what has nothing."""
    share = entry.diverged / len(entry.runs)
    mean = entry.final.mean
    if mean is None:
        return (1 if entry.diverged else 2), share, 0.0
    return 0, share, mean if mode == "min" else -mean


def _equal(one: Entry, other: Entry, mode: Mode) -> bool:
    *kind, mean = _standing(one, mode)
    *other_kind, other_mean = _standing(other, mode)
    ends = (one.final.min, one.final.max, other.final.min, other.final.max)
    scale = max(abs(end or 0.0) for end in ends)
    return kind == other_kind and abs(mean - other_mean) <= _ROUNDING * scale
