"""Which schedules of a comparison a picture shows, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lrtrack.reports.palette import COLOURS, Look, for_print, looks_of
from lrtrack.stats import ComparisonResult

#: The most lines in colour, as many as there are colours, and the most rows.
COLOURED, ROWS = len(COLOURS), 20


@dataclass(frozen=True)
class Cast:
    """The schedules of a picture, by their index in the comparison.

    Attributes:
        looks: the looks of the schedules in colour: the best, and the baseline if there is one.
        others: the schedules in grey.
        rows: those with a row of their own, in the order of the report.
        names: the short name of each schedule of the comparison.
    """

    looks: Mapping[int, Look]
    others: Sequence[int]
    rows: Sequence[int]
    names: Sequence[str]


def cast_of(comparison: ComparisonResult, names: Sequence[str]) -> Cast:
    """Choose the schedules by their rank, whatever the order of the report is."""
    schedules = comparison.schedules
    ranked = sorted(range(len(schedules)), key=lambda at: (schedules[at].rank, at))
    # the reference of all differences is always seen
    ranked.sort(key=lambda at: schedules[at].verdict != "baseline")
    best = sorted(ranked[:COLOURED], key=lambda at: (schedules[at].rank, at))
    looks = for_print(looks_of([schedules[at] for at in best]))
    return Cast(
        looks=dict(zip(best, looks, strict=True)),
        others=sorted(ranked[COLOURED:]),
        rows=sorted(ranked[:ROWS]),
        names=names,
    )
