"""Mistakes in training loops are reported, whatever else their records show."""

from __future__ import annotations

import pytest

from lrtrack.errors import UsageError
from tests.diagnoses.mistakes import MISTAKES

REPORTED = [name for name, mistake in MISTAKES.items() if mistake.code is not None]


@pytest.mark.parametrize("name", REPORTED)
def test_mistakes(track, messages, name: str) -> None:
    """A training with a mistake has the diagnosis that names it."""
    codes = MISTAKES[name].loop(track) or list(messages())

    assert MISTAKES[name].code in codes


def test_a_mistake_that_is_refused(track) -> None:
    """A scheduler of another optimizer is an error when the block opens, and needs no diagnosis."""
    with pytest.raises(UsageError, match="changes the learning rate of another optimizer"):
        MISTAKES["scheduler of another optimizer"].loop(track)


def test_most_mistakes_are_reported() -> None:
    """At least 28 of the 34 mistakes have a diagnosis."""
    assert len(MISTAKES) == 34
    assert len(REPORTED) >= 28
