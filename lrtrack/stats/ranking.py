"""Summaries of groups of runs, and their ranking."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lrtrack.records import map_each
from lrtrack.stats.figures import Spread
from lrtrack.stats.groups import Group
from lrtrack.stats.intervals import spread_of
from lrtrack.stats.samples import Sample
from lrtrack.stats.summary import Mode, RunSummary, summarise, worst
from lrtrack.stats.targets import Goal

#: Means whose difference, relative to the largest value, is smaller differ only by rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Entry:
    """A group with its statistics, from which its `ScheduleSummary` is built.

    Attributes:
        sample: the values to compare: diverged runs count as infinitely bad, runs without the
            metric are excluded.
        median: of the sample, infinite if half of it diverged; None if it is empty.
    """

    group: Group
    runs: tuple[RunSummary, ...]
    final: Spread
    sample: Sample
    median: float | None

    @property
    def diverged(self) -> int:
        """How many of its runs diverged."""
        return sum(run.diverged for run in self.runs)


def entry_of(
    group: Group,
    metric: str,
    mode: Mode,
    goal: Goal | None,
    *,
    include_unfinished: bool = False,
) -> Entry:
    """Compute the statistics of a group.

    A run that was killed or is still going does not count, unless `include_unfinished`: its last
    value is not a final one. If it diverged, it counts as that.

    Args:
        goal: the target of each run; None: there is none.
    """
    runs = map_each(
        lambda history: summarise(history, metric, mode, None if goal is None else goal(history)),
        group.histories,
    )
    finals = [
        None if run.diverged or (run.unfinished and not include_unfinished) else run.final
        for run in runs
    ]
    sample = sample_of(runs, finals, [run.seed for run in runs], mode)
    return Entry(group, runs, spread_of(finals), sample, sample.median(mode))


def sample_of(
    runs: Sequence[RunSummary],
    values: Sequence[float | None],
    seeds: Sequence[int | None],
    mode: Mode,
) -> Sample:
    """What is compared of a group: divergence as the worst value, but no run without a value."""
    every = [
        (worst(mode) if run.diverged else value, seed)
        for run, value, seed in zip(runs, values, seeds, strict=True)
    ]
    compared = [(value, seed) for value, seed in every if value is not None]
    return Sample(tuple(value for value, _ in compared), tuple(seed for _, seed in compared))


def ranked(entries: Sequence[Entry], mode: Mode) -> list[tuple[int, Entry]]:
    """Order `entries`, best first, each with its rank from 1.

    The median over runs decides, with divergence as the worst value, then the mean of the runs that
    ended. Entries in which both differ only by rounding share a rank, as in 1, 2, 2, 4, and are
    ordered by label.
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


def _standing(entry: Entry, mode: Mode) -> tuple[bool, float, float]:
    """The sort key, smallest first; entries without values come last."""
    sign = 1.0 if mode == "min" else -1.0
    median = math.inf if entry.median is None else sign * entry.median
    mean = math.inf if entry.final.mean is None else sign * entry.final.mean
    return entry.median is None, median, mean


def _equal(one: Entry, other: Entry, mode: Mode) -> bool:
    lacking, *figures = _standing(one, mode)
    other_lacking, *other_figures = _standing(other, mode)
    ends = (one.final.min, one.final.max, other.final.min, other.final.max)
    slack = _ROUNDING * max(abs(end or 0.0) for end in ends)
    return lacking == other_lacking and all(
        figure == other_figure or abs(figure - other_figure) <= slack
        for figure, other_figure in zip(figures, other_figures, strict=True)
    )
