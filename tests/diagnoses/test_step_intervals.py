"""LR025: steps that take far longer than the others, and pauses that belong to the loop."""

from __future__ import annotations

import numpy as np
import pytest

from lrtrack.stats.diagnose.step_intervals import Stalls, StepIntervals, _regular
from tests.diagnoses.loops import Records, messages_of

RANDOM = np.random.default_rng(0)
STEPS = np.arange(1000)
USUAL = 0.02 * RANDOM.gamma(50.0, 0.02, 1000)
WAITS = RANDOM.random(1000) < 0.05
#: Seconds of each step where the loop does other things, or waits for little.
SOUND = {
    "even": USUAL,
    "evaluations": USUAL + 20.0 * (STEPS % 100 == 99),
    "evaluations and checkpoints": USUAL + 5.0 * (STEPS % 100 == 99) + 9.0 * (STEPS % 300 == 299),
    "waiting for the device": np.where(STEPS % 10 == 9, 0.2, 0.0005),
    "compilation": USUAL + 60.0 * (STEPS == 0),
    "one long break": USUAL + 3600.0 * (STEPS == 500),
    "sequences of all lengths": USUAL * RANDOM.choice([1.0, 2.0, 5.0], 1000),
    "short waits": USUAL + 0.3 * (WAITS & (STEPS % 10 == 0)),
}


def told(seconds: np.ndarray) -> dict[str, str]:
    """The messages about steps that took some seconds each."""
    records = Records({"lr": [0.1] * seconds.size})
    return messages_of(records, times=1.7e9 + np.cumsum(seconds))


def test_steps_that_wait_for_data() -> None:
    """The message has the share of long steps, the median, and the time that they cost."""
    message = told(USUAL + 1.0 * WAITS)["LR025"]

    assert message.startswith(f"5 % of the steps ({WAITS[1:].sum() - 1} of 999) took over 10 times")
    assert "the median of 20 ms" in message
    assert message.endswith("at least 1 s. They cost 70 % of the time.")


def test_waits_beside_evaluations() -> None:
    """Pauses at regular distances do not hide others."""
    assert list(told(USUAL + 1.0 * WAITS + 2.0 * (STEPS % 50 == 49))) == ["LR025"]


@pytest.mark.parametrize("seconds", SOUND.values(), ids=SOUND)
def test_pauses_that_are_no_finding(seconds: np.ndarray) -> None:
    """Evaluations, checkpoints, compilation and breaks are no waits for data."""
    assert told(seconds) == {}


def test_too_little_to_tell() -> None:
    """Fewer than 200 steps, 30 s, or steps of 5 ms show nothing of the loop."""
    slow = USUAL + 1.0 * WAITS

    assert told(slow[:200]) == {}
    assert told(slow / 3.0) == {}
    assert told(np.tile(slow / 20.0, 20)) == {}


def test_a_clock_that_goes_back() -> None:
    """Times that do not ascend are left out."""
    intervals = StepIntervals()
    intervals.add(np.arange(300), 1e9 - np.arange(300.0))
    intervals.add(np.arange(300, 600), np.full(300, np.nan))

    assert intervals.stalls() is None


@pytest.mark.parametrize(
    ("steps", "regular"),
    [
        ([], []),
        ([5], [False]),
        ([5, 10], [False, False]),
        ([5, 10, 15], [True] * 3),
        ([1, 2, 3, 4], [False] * 4),  # nearly all steps are long
        ([1, 50, 120, 300], [False] * 4),
        ([100, 200, 300, 350], [True] * 3 + [False]),
        ([30, 130, 230, 330, 370], [True] * 4 + [False]),
        ([100, 200, 300, 400, 505], [True] * 5),
        ([100, 200, 300, 400, 506], [True] * 4 + [False]),
        ([100, 200, 300, 400, 495], [True] * 5),
        ([100, 200, 300, 400, 494], [True] * 4 + [False]),
    ],
)
def test_which_distances_are_regular(steps: list[int], regular: list[bool]) -> None:
    """Long steps are regular at the most common distance, within a twentieth of it."""
    assert _regular(np.array(steps, dtype=np.int64)).tolist() == regular


def test_where_stalls_are_looked_for() -> None:
    """There must be 200 intervals, and 30 s of them; the figures are those of the long ones."""
    for size, seconds, known in ((200, 0.15001, 200), (199, 0.2, None), (200, 0.14999, None)):
        intervals = StepIntervals()
        intervals.add(np.arange(size + 1), 1e3 + seconds * np.arange(size + 1))
        stalls = intervals.stalls()
        assert known == (None if stalls is None else stalls.known)

    times = np.cumsum(np.where(np.isin(np.arange(401), [7, 50, 120, 300]), 8.0, 0.125))
    intervals = StepIntervals()
    intervals.add(np.arange(401), times)
    found = intervals.stalls()
    assert found is not None
    median = intervals._quantile(0.5)
    assert median == pytest.approx(0.125, rel=0.05)
    assert found == Stalls(
        3, 400, median, intervals._quantile(0.99), pytest.approx(3 * (8.0 - median)), 81.5
    )
