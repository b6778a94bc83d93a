"""Numbers as people write them."""

import math

import pytest

from lrtrack.number_text import count, file_size, readable, times


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (1e-9, "1e-09 times"), (0.5, "0.5 times"), (1.5, "1.5 times"), (9.96, "10 times"),
        (540.4, "540 times"), (1000.0, "1,000 times"), (54_321.0, "54,000 times"),
        (99_999.0, "100,000 times"), (999_999.0, "1×10⁶ times"), (5_131_861_556.0, "5×10⁹ times"),
        (9.9e9, "1×10¹⁰ times"), (math.inf, "over 10³⁰⁰ times"),
    ],
)  # fmt: skip
def test_ratios(ratio: float, text: str) -> None:
    """A ratio has two digits, or one and a power of ten."""
    assert times(ratio) == text


@pytest.mark.parametrize(
    ("number_of", "text"),
    [
        (1, "1 byte"), (99_999, "99,999 bytes"), (100_000, "100 kB"), (2_056_789, "2.06 MB"),
        (1_234_567_890, "1.23 GB"), (10**18, "1 M TB"),
    ],
)  # fmt: skip
def test_sizes(number_of: int, text: str) -> None:
    """Small sizes are exact, larger ones have a unit."""
    assert file_size(number_of) == text


@pytest.mark.parametrize(
    ("number_of", "text"), [(0, "0 runs"), (1, "1 run"), (12_000, "12,000 runs")]
)
def test_counts(number_of: int, text: str) -> None:
    """A count has a noun in its number, and separators between thousands."""
    assert count(number_of, "run") == text


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("optimizer.lr=0.30000000000000004", "optimizer.lr=0.3"),
        ("ExponentialLR(gamma=0.98968532, n=[1.00000001e-05, -2.5])",
         "ExponentialLR(gamma=0.989685, n=[1e-05, -2.5])"),
        ("torch 2.9.12345678+cpu", "torch 2.9.12345678+cpu"),
        ("run v0.123456789a", "run v0.123456789a"),
    ],
)  # fmt: skip
def test_computed_decimals_in_labels(label: str, text: str) -> None:
    """Long decimals are rounded; versions and names that look like them are not."""
    assert readable(label) == text
