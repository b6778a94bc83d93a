"""Diagnoses of trainings whose numbers are far too large or small."""

from __future__ import annotations

import re

import numpy as np
import pytest

from lrtrack.records import Run, State
from lrtrack.schedules import Schedule
from lrtrack.stats.diagnose import diagnose
from tests.diagnoses.loops import Records, statistics_of

#: A number that nobody reads: over six digits in a row, or a decimal with as many.
UNREADABLE = re.compile(r"\d{7,}|\d\.\d{6,}")


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e12, 1e300])
@pytest.mark.parametrize("rate", [1e-12, 0.123456789, 1e9])
def test_messages_have_no_long_numbers(size: float, rate: float) -> None:
    """However extreme losses, norms and rates are, messages and hints have few digits."""
    steps = 400
    noise = 1.0 + np.random.default_rng(0).random(steps)
    norms = size * noise
    norms[::50] = 5131861556.0 * size
    rates = np.full(steps, rate)
    rates[100:] = 1e-9 * rate
    losses = np.concatenate((size * noise[:5], 1e5 * size * noise[5:]))
    records = Records(
        {"lr": rates.tolist(), "loss": losses.tolist(), "grad_norm": norms.tolist(),
         "grad_norm_preclip": (12345.678 * norms).tolist()},
        Schedule("ExponentialLR", {"gamma": 0.123456789012}),
    )  # fmt: skip
    run = Run("a" * 32, "run", schedule=records.schedule, optimizer={"lr": rate})
    diagnoses = diagnose(run, statistics_of(records), State.FINISHED, None)
    texts = [text for one in diagnoses for text in (one["message"], one["hint"])]

    assert {"LR004", "LR009"} <= {one["code"] for one in diagnoses}
    assert [text for text in texts if UNREADABLE.search(text)] == []


def test_the_largest_spike_in_words() -> None:
    """A spike of five billion times the median is written as a power of ten."""
    norms = [1.0] * 30 + [5131861556.0] + [1.0] * 30
    records = Records({"lr": [0.1] * 61, "loss": [1.0] * 61, "grad_norm": norms})
    run = Run("a" * 32, "run", schedule=records.schedule)
    diagnoses = diagnose(run, statistics_of(records), State.FINISHED, None)

    assert [one["message"] for one in diagnoses if one["code"] == "LR009"] == [
        "1 gradient spike in 61 recorded steps: gradient norms over 10 times their trailing "
        "median; the largest is 5×10⁹ times the median."
    ]
