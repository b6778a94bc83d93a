"""How long a server's `Retry-After` header asks a client to wait."""

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
    """A `Retry-After` header may hold seconds or a date, and other texts are ignored."""
    assert retry_after_seconds(header) == expected


def test_retry_after_a_date():
    """A future date in `Retry-After` becomes the seconds until then."""
    delay = retry_after_seconds(formatdate(time.time() + 100, usegmt=True))

    assert delay == pytest.approx(100, abs=2)
