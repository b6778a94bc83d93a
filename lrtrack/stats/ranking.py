"""Summaries of groups of runs, and their ranking."""

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

#: Means whose difference, relative to the largest value, is smaller differ only by rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Entry:
    """A group with its statistics, from which its `ScheduleSummary` is built.

    Attributes:
        sample: the values to test: diverged runs count as infinitely bad, runs without the metric
            are excluded.
    """

    group: Group
    runs: tuple[RunSummary, ...]
    final: Spread
    sample: Sample

    @property
    def diverged(self) -> int:
        """How many of its runs diverged."""
        return sum(run.diverged for run in self.runs)


def entry_of(group: Group, metric: str, mode: Mode, target: float | None) -> Entry:
    """Compute the statistics of a group."""
    runs = tuple(
        summarise(history, metric, mode, target) for history in one_by_one(group.histories)
    )
    worst = math.inf if mode == "min" else -math.inf
    tested = [(run, run.final) for run in runs if run.diverged or run.final is not None]
    sample = Sample(
        values=tuple(worst if run.diverged or v is None else v for run, v in tested),
        seeds=tuple(run.seed for run, _ in tested),
    )
    final = spread_of([None if run.diverged else run.final for run in runs])
    return Entry(group, runs, final, sample)


def ranked(entries: Sequence[Entry], mode: Mode) -> list[tuple[int, Entry]]:
    """Order `entries`, best first, each with its rank from 1.

    Entries that differ only by rounding share a rank, as in 1, 2, 2, 4, and are ordered by label.
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
    """The sort key, smallest first: entries with a mean, then diverged ones, then those without
    values.
    """
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
