"""The axis of differences to the best."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lrtrack.reports.html import forest
from lrtrack.reports.palette import Look
from lrtrack.schedules import Schedule
from lrtrack.stats import ComparisonResult, compare_histories

BLUE = Look(0, 0)


def comparison_of(run_of, *levels: float, **options) -> ComparisonResult:
    """Schedules with three runs each around these final losses."""
    noise = np.random.default_rng(0).normal(size=(len(levels), 3))
    runs = [
        run_of(Schedule(f"S{at}"), seed, loss=[level + 0.01 * noise[at, seed]])
        for at, level in enumerate(levels)
        for seed in range(3)
    ]
    return compare_histories(runs, experiment="e", metric="loss", **options)


def axis_and_cells(comparison: ComparisonResult) -> tuple[forest.Axis, list[str]]:
    """The axis of a comparison that has differences, and its cells."""
    axis = forest.axis_of(comparison)
    assert axis is not None
    base = comparison.baseline
    return axis, [forest.cell(item, BLUE, axis, base) for item in comparison.schedules]


@given(
    st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-9),
    st.floats(1e-9, 1e6),
)
def test_ticks_are_round_and_within_the_range(low, width):
    """Two to five ticks lie at multiples of 1, 2 or 5 times a power of ten."""
    high = low + max(width, abs(low) * 1e-3)
    ticks = forest.round_ticks(low, high)
    gaps = {f"{b - a:.1e}"[:3] for a, b in pairwise(ticks)}
    room = 1e-6 * (high - low)

    assert 2 <= len(ticks) <= 5
    assert low - room <= ticks[0] < ticks[-1] <= high + room
    assert gaps <= {"1.0", "2.0", "5.0"}


def test_the_axis_holds_zero_and_all_intervals(run_of):
    """The axis reaches from 0 or below to the farthest interval, with the best at 0."""
    comparison = comparison_of(run_of, 0.30, 0.31, 0.40)
    axis, cells = axis_and_cells(comparison)
    worst = comparison.schedules[2].vs_best
    assert worst is not None

    assert axis.high == worst.ci95[1]
    assert axis.low == min(item.vs_best.ci95[0] for item in comparison.schedules[1:])
    assert 0.0 in axis.ticks
    assert (axis.title, axis.better) == ("difference to the best", False)
    assert ">best</text>" in cells[0]
    assert 'class="effect"' not in cells[0]
    assert ["alike" in cell for cell in cells] == [False, True, False]
    assert f'<circle class="point" cx="{axis.at(worst.difference)}"' in cells[2]


def test_a_schedule_far_away_does_not_press_the_others_together(run_of):
    """The axis ends at four times the median distance; an arrow marks what goes on beyond."""
    comparison = comparison_of(run_of, 0.30, 0.31, 0.32, 0.33, 90.0)
    axis, cells = axis_and_cells(comparison)
    reach = sorted(max(map(abs, item.vs_best.ci95)) for item in comparison.schedules[1:])

    assert axis.high == 4 * (reach[1] + reach[2]) / 2
    assert ["arrow" in cell for cell in cells] == [False, False, False, False, True]
    assert "<circle" not in cells[4]


def test_without_spread_there_is_no_axis(run_of):
    """Single runs have no differences to draw."""
    runs = [run_of(Schedule(f"S{at}"), 0, loss=[1.0 + at]) for at in range(2)]

    assert forest.axis_of(compare_histories(runs, experiment="e", metric="loss")) is None


def test_a_baseline_is_the_reference(run_of):
    """Against a baseline, its row is the reference, and better schedules lie on the other side."""
    comparison = comparison_of(run_of, 0.30, 0.60, baseline="S1")
    axis, cells = axis_and_cells(comparison)

    assert axis.title == "difference to the baseline"
    assert axis.low < -0.3 < axis.high
    assert ">baseline</text>" in cells[1]
    assert "alike" not in cells[0]
    assert re.findall(r"<span>(.*?)</span>", forest.head(axis))[0] == "← better"


def test_the_drawing_in_words(run_of):
    """Each drawing says its numbers, and whether the schedule may be as good."""
    comparison = comparison_of(run_of, 0.30, 0.301)
    _, cells = axis_and_cells(comparison)
    labels = [re.findall('aria-label="(.*?)"', cell)[0] for cell in cells]

    assert labels[0] == "the best"
    assert re.fullmatch(r"−?0\.\d+ \[−0\.\d+, 0\.\d+\], may be as good", labels[1])
