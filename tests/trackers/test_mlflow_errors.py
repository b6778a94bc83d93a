"""Which refusals of MLflow's pass, and how long a server asks to be left alone."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from lrtrack.trackers.mlflow.errors import retry_after_seconds


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("3", 3.0),
        (" 120 ", 120.0),
        ("0", 0.0),
        ("1.5", 1.5),
        (None, None),
        ("", None),
        ("-5", None),
        ("nan", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ],
)
def test_retry_after(header: str | None, expected: float | None):
    """Seconds and dates are understood; a date that is over asks for nothing; the rest is noise."""
    assert retry_after_seconds(header) == expected


def test_retry_after_a_date():
    """A date to come is so many seconds away."""
    found = retry_after_seconds(formatdate(time.time() + 100, usegmt=True))

    assert found == pytest.approx(100, abs=2)
