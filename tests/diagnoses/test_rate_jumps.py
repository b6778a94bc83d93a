"""LR030: the learning rate jumped where a training was continued."""

from __future__ import annotations

import numpy as np
import pytest

from lrtrack.records import Run, State
from lrtrack.schedules import Schedule
from lrtrack.stats.diagnose import Observations, RunningStatistics, diagnose
from lrtrack.stats.diagnose.rate_jumps import RateJump, rate_jumps

COSINE = Schedule("CosineAnnealingLR", {"T_max": 100})
STEPS = np.arange(100)
RATES = 0.05 * (1.0 + np.cos(np.pi * STEPS / 100.0))


def told(jump: RateJump, schedule: Schedule = COSINE) -> list[str]:
    """The messages about one jump."""
    run = Run("a" * 32, "run", schedule=schedule)
    observations = Observations(steps=50, total=100, jumps=(jump,))
    found = diagnose(run, RunningStatistics(schedule), State.FAILED, observations)
    return [f"{each['message']} {each['hint']}" for each in found if each["code"] == "LR030"]


def test_a_schedule_that_goes_on_does_not_jump() -> None:
    """The schedule's own change from step to step is no jump, wherever the run was continued."""
    assert rate_jumps(STEPS, RATES, (1, 50, 99)) == ()


def test_a_schedule_that_begins_again() -> None:
    """Both rates are reported, and the scheduler's lost state as their reason."""
    rates = np.concatenate((RATES[:40], RATES[:60]))
    (jump,) = rate_jumps(STEPS, rates, (40,))

    assert jump == RateJump(40, 39, float(RATES[0]), float(RATES[39]), is_first=True)
    (text,) = told(jump)
    assert f"from {RATES[39]:.4g} (step 39) to 0.1 (step 40)" in text
    assert "the schedule began again" in text


def test_a_rate_that_was_changed() -> None:
    """A rate that is not the first one is reported without a guess at the reason."""
    rates = np.where(STEPS < 40, RATES, RATES / 10.0)
    (jump,) = rate_jumps(STEPS, rates, (40,))
    (text,) = told(jump)

    assert not jump.is_first
    assert "the schedule's own changes are smaller" in text


def test_the_breaks_themselves_are_not_usual() -> None:
    """Two jumps do not excuse each other."""
    rates = np.where((STEPS >= 30) & (STEPS < 60), 0.2, 0.1)

    assert [jump.step for jump in rate_jumps(STEPS, rates, (30, 60))] == [30, 60]


@pytest.mark.parametrize(
    ("schedule", "before", "after", "count"),
    [
        (Schedule("StepLR", {"step_size": 40, "gamma": 0.1}), 0.1, 0.01, 0),
        (Schedule("StepLR", {"step_size": 40, "gamma": 0.1}), 0.1, 0.05, 1),
        (Schedule("CosineAnnealingWarmRestarts", {"T_0": 40}), 0.001, 0.1, 0),
        (Schedule("CosineAnnealingWarmRestarts", {"T_0": 40}), 0.1, 0.001, 1),
        (
            Schedule("StepLR -> SWALR", {"schedulers": [{"name": "StepLR", "gamma": 0.1}]}),
            0.1,
            0.01,
            0,
        ),
    ],
)
def test_what_the_schedule_means(
    schedule: Schedule, before: float, after: float, count: int
) -> None:
    """A change that the schedule makes by design may come exactly at a break."""
    assert len(told(RateJump(40, 39, after, before, is_first=False), schedule)) == count


@pytest.mark.parametrize("breaks", [(), (0,), (100,), (500,)])
def test_breaks_without_two_sides(breaks: tuple[int, ...]) -> None:
    """Nothing is compared where there is no record before or after."""
    assert rate_jumps(STEPS, RATES, breaks) == ()
    assert rate_jumps(STEPS[:0], RATES[:0], breaks) == ()


def test_a_schedule_that_begins_again_from_the_loaded_rate() -> None:
    """A count that falls is reported with the first rate after which the schedule has moved."""
    rates = np.where(STEPS < 40, RATES, RATES[40] * (1.0 - (STEPS - 40.0) / 1000.0))
    counts = np.where(STEPS < 40, STEPS, np.maximum(STEPS - 42, 0))
    (jump,) = rate_jumps(STEPS, rates, (40,), counts)
    (text,) = told(jump, Schedule("StepLR", {"gamma": rates[43] / rates[39]}))

    assert (jump.before, jump.step, jump.began_again) == (39, 43, True)
    assert f"from {rates[39]:.4g} (step 39) to {rates[43]:.4g} (step 43)" in text
    assert "the schedule began again" in text


@pytest.mark.parametrize(
    "counts",
    [STEPS, STEPS // 7, np.where(STEPS < 40, -1, STEPS - 40), np.full(100, -1)],
    ids=["each step", "each epoch", "unknown before", "unknown"],
)
def test_a_count_that_does_not_fall(counts: np.ndarray) -> None:
    """A schedule that goes on, or whose count was not known before, has not begun again."""
    assert rate_jumps(STEPS, RATES, (40,), counts) == ()


def test_a_rate_that_never_moves_does_not_begin_again() -> None:
    """A scheduler without effect may count what it likes."""
    counts = np.where(STEPS < 40, STEPS, STEPS - 40)

    assert rate_jumps(STEPS, np.full(100, 0.1), (40,), counts) == ()
