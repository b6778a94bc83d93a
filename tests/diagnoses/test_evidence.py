"""The statistics behind LR014 to LR025: bounded, independent of batches, and safe with anything."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lrtrack.records import Run, State
from lrtrack.schedules import Schedule
from lrtrack.stats.diagnose import Observations, RunningStatistics, diagnose
from lrtrack.stats.diagnose.course import OPENING, STRETCHES, Course
from lrtrack.stats.diagnose.rate_source import RateMismatch

NAMES = ("lr", "lr/a", "lr/b", "loss", "loss_count", "grad_norm", "grad_norm_preclip")
LAYERS = ("grad_norm/a.weight", "grad_norm/b.weight")
ANY = st.floats(width=64) | st.sampled_from([0.0, -0.0, 1e308, 5e-324])
NUMBER = st.integers(-2, 400) | st.floats(allow_nan=True) | st.none() | st.text(max_size=2)
PARAMS = ("gamma", "step_size", "milestones", "T_0", "T_mult", "eta_min", "max_lr", "base_lr")
KINDS = ("StepLR", "MultiStepLR", "ExponentialLR", "OneCycleLR", "CyclicLR", "SequentialLR")


@st.composite
def schedules(draw: Any) -> Schedule:
    """Schedules with torch's names and settings of any type."""
    settings_of = st.dictionaries(st.sampled_from(PARAMS), NUMBER | st.lists(NUMBER, max_size=3))
    cosines = ("CosineAnnealingLR", "CosineAnnealingWarmRestarts")
    name = draw(st.sampled_from((*KINDS, *cosines)))
    params = draw(settings_of)
    if name == "SequentialLR":
        params["schedulers"] = [{"name": "ExponentialLR", **draw(settings_of)}, draw(NUMBER)]
    return Schedule(name, params)


@settings(max_examples=25, deadline=None)
@given(st.data(), schedules())
def test_no_records_make_a_rule_fail(data: Any, schedule: Schedule) -> None:
    """Whatever is recorded, in whatever batches, the rules return texts and raise nothing."""
    statistics = RunningStatistics(schedule)
    size = data.draw(st.sampled_from([1, 3, 70, 210]))
    start = 0
    for _ in range(data.draw(st.integers(1, 3))):
        names = data.draw(st.sets(st.sampled_from((*NAMES, *LAYERS)), min_size=1))
        columns = {}
        for name in sorted(names):
            values = data.draw(hnp.arrays(np.float64, size, elements=ANY, fill=ANY))
            there = data.draw(hnp.arrays(np.bool_, size, fill=st.booleans()) | st.none())
            columns[name] = (values, there)
        times = data.draw(hnp.arrays(np.float64, size, elements=ANY, fill=ANY) | st.none())
        with np.errstate(all="ignore"):
            statistics.add(np.arange(start, start + size), columns, times)
        start += data.draw(st.sampled_from([0, size]))
    observations = Observations(
        steps=size,
        total=size,
        begun=data.draw(st.integers(0, 3) | st.none()),
        position=data.draw(st.integers(0, 400) | st.none()),
        moves=data.draw(st.integers(0, 400)),
        used=data.draw(st.integers(0, 400)),
        mismatch=data.draw(st.just(RateMismatch(1, 2, 0.1, 0.0)) | st.none()),
        given_rate=data.draw(st.floats() | st.none()),
    )
    config = {"num_classes": data.draw(NUMBER), "model.n_classes": 10}
    run = Run("a" * 32, "run", schedule=schedule, config=config, optimizer={"lr": 0.1})
    for state in State:
        for observed in (observations, None):
            with np.errstate(all="ignore"):
                diagnoses = diagnose(run, statistics, state, observed)
            assert all(type(text) is str for one in diagnoses for text in one.values())


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=600), st.integers(1, 90))
@settings(max_examples=20, deadline=None)
def test_a_course_does_not_depend_on_batches(values: list[float], rows: int) -> None:
    """Values added in batches make the same stretches as all at once, as few as are kept."""
    whole, parts = Course(), Course()
    array = np.array(values)
    whole.add(array)
    for start in range(0, array.size, rows):
        parts.add(array[start : start + rows])
    one, other = whole.stretches(), parts.stretches()

    np.testing.assert_allclose(other.means, one.means, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(other.lows, one.lows)
    np.testing.assert_array_equal(parts.first, array[:OPENING])
    assert 0 < one.means.size <= STRETCHES
    assert parts.count == array.size


def test_the_stretches_of_a_course() -> None:
    """Means, spread and lows are those of stretches of equal length, of which there are few."""
    course = Course()
    course.add(np.array([np.nan, np.inf, *range(256)]))
    stretches = course.stretches()

    assert stretches.means.tolist() == [2.0 * stretch + 0.5 for stretch in range(128)]
    assert stretches.spread.tolist() == [0.5] * 128
    assert stretches.lows.tolist() == [2.0 * stretch for stretch in range(128)]
    assert stretches.levels(2).tolist() == [63.5, 191.5]

    course.add(np.array([1000.0]))
    stretches = course.stretches()
    assert stretches.means.tolist() == [4.0 * stretch + 1.5 for stretch in range(64)]
    assert stretches.spread.tolist() == [1.25**0.5] * 64
    assert stretches.lows.tolist() == [4.0 * stretch for stretch in range(64)]
