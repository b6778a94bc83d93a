"""Small charts of a comparison, one line per schedule: profiles over tasks, the best of k values.

What they show is the same in every format that has pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lrtrack.errors import clean
from lrtrack.reports.axes import title_of
from lrtrack.stats import PROFILE, SLOWEST, ComparisonResult, TargetScore

Points = Sequence[tuple[float, float]]

_PROFILE_NOTE = (
    "Performance profile: the share of a {noun}'s runs, over all tasks, whose {metric} is better "
    "than a score, by the score; the best {noun}'s mean on each task has score 1."
)
_TARGET_NOTE = (
    "Time-to-target profile: the share of tasks on which a {noun} reaches the target within τ "
    "times the steps of the fastest {noun} there, by τ. The score is the area under it, as a "
    "share of the largest possible (Dahl et al., 2023)."
)
_EXPECTED_NOTE = (
    "Expected best final {metric} of k tried values, by k: compare {noun}s at equal k if they "
    "were tuned over different numbers of values. Values at which every run diverged are left out."
)


@dataclass(frozen=True)
class SmallChart:
    """One chart.

    Attributes:
        name: what `--panel` calls it.
        up: the title of the y axis.
        across: the title of the x axis.
        note: how to read it.
        ends: the lowest and the highest y.
        lines: the points of each schedule, by its index in the comparison.
        counts: whether x counts something, so that only whole numbers have a tick.
    """

    name: str
    title: str
    up: str
    across: str
    note: str
    ends: tuple[float, float]
    lines: Sequence[tuple[int, Points]]
    counts: bool = False


def charts_of(comparison: ComparisonResult) -> list[SmallChart]:
    """The charts that the comparison has numbers for."""
    return [
        *_profiles(comparison),
        *_target_profiles(comparison),
        *_expected_best(comparison),
    ]


def _profiles(comparison: ComparisonResult) -> Iterator[SmallChart]:
    """The share of runs that are better than a score."""
    lines = [
        (at, list(zip(PROFILE, item.across.profile, strict=True)))
        for at, item in enumerate(comparison.schedules)
        if item.across is not None
    ]
    if lines:
        note = _PROFILE_NOTE.format(metric=clean(comparison.metric), noun=comparison.noun)
        yield SmallChart(
            "profile", "Scores over tasks", "share of runs", "score", note, (0.0, 1.0), lines
        )


def _target_profiles(comparison: ComparisonResult) -> Iterator[SmallChart]:
    """The share of tasks on which the target is reached in a multiple of the fastest time.

    Seconds of different devices are not compared.
    """
    mixed = any(item.code == "mixed-devices" for item in comparison.warnings)
    x = title_of(comparison.x)
    for unit, figure in (
        ("steps", "steps_to_target"),
        (x, "x_to_target"),
        *([] if mixed else [("seconds", "seconds_to_target")]),
    ):
        scores = [
            (at, getattr(item.across, figure))
            for at, item in enumerate(comparison.schedules)
            if item.across is not None
        ]
        lines = [(at, _stairs(score)) for at, score in scores if score is not None]
        if lines:
            yield SmallChart(
                figure,
                f"{unit[:1].upper()}{unit[1:]} to the target over tasks",
                "share of tasks",
                f"τ, multiple of the fastest {comparison.noun}'s {unit}",
                _TARGET_NOTE.format(noun=comparison.noun)
                if unit == "steps"
                else f"The same by {unit}.",
                (0.0, 1.0),
                lines,
            )


def _stairs(score: TargetScore) -> Points:
    """The corners of a profile, from 1 to `SLOWEST`."""
    ratios = sorted(ratio for ratio in score.ratios if ratio is not None and ratio <= SLOWEST)
    corners, share = [(1.0, 0.0)], 0.0
    for reached, ratio in enumerate(ratios, start=1):
        corners += [(ratio, share), (ratio, reached / len(score.ratios))]
        share = reached / len(score.ratios)
    return [*corners, (SLOWEST, share)]


def _expected_best(comparison: ComparisonResult) -> Iterator[SmallChart]:
    """The expected best of k tried values."""
    tunings = [item.tuning for item in comparison.schedules if item.tuning is not None]
    lines = [
        (at, list(enumerate(item.tuning.expected_best, start=1)))
        for at, item in enumerate(comparison.schedules)
        if item.tuning is not None and item.tuning.expected_best
    ]
    values = [value for _, points in lines for _, value in points]
    if values and max(len(points) for _, points in lines) > 1:
        metric, ends = clean(comparison.metric), (min(values), max(values))
        note, field = (
            _EXPECTED_NOTE.format(metric=metric, noun=comparison.noun),
            clean(tunings[0].field),
        )
        yield SmallChart(
            "expected_best",
            "The best of k values",
            f"final {metric}",
            f"k, values of {field}",
            note,
            ends,
            lines,
            True,
        )
