"""Text forms of numbers in reports."""

import pytest

from lrtrack.reports.formatting import aligned, amount, difference
from lrtrack.stats import Effect


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (0.0098, 0.0061, 0.0135, ("0.0098", "[0.0061, 0.0135]")),
        (-0.005, -0.0277, 0.0074, ("−0.005", "[−0.028, 0.007]")),
        (0.0751, -0.0035, 9436.2, ("0.075", "[−0.004, 9436]")),
        (-2.824, -3.99, 1.572e6, ("−2.8", "[−4.0, 1.57e+06]")),
        (0.0190, 0.0006, 0.0527, ("0.0190", "[0.0006, 0.0527]")),
        (0.2, 0.2, 0.2, ("0.200", "[0.200, 0.200]")),
        (12_345.678, 12_345.6779, 12_345.6781, ("12345.7", "[12345.7, 12345.7]")),
    ],
)
def test_differences(value, low, high, expected):
    """Decimals follow the nearer end of the interval; a far end has digits of its own."""
    assert difference(Effect(value, (low, high), 0.5)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.97385, "0.974"),
        (999.0, "999.000"),
        (12_345.0, "12345"),
        (4.05e304, "4.050e+304"),
        (None, "–"),
    ],
)
def test_aligned_numbers(value, expected):
    """Numbers of a column have common decimals, except huge ones."""
    assert aligned(value, 3) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"), (1.5, "1.5"), (0.012345, "0.0123"), (820.0, "820"), (12_345.6, "12,346"),
        (999_999.7, "1 M"), (2_100_000.0, "2.1 M"), (123_456_789.0, "123 M"),
        (999_999_999.0, "1×10⁹"), (3.2e9, "3.2×10⁹"), (1.5e12, "1.5×10¹²"), (-2.5e6, "-2.5 M"),
        (None, "–"), (float("inf"), "–"),
    ],
)  # fmt: skip
def test_amounts(value, expected):
    """Millions are written as such, and larger amounts with a power of ten."""
    assert amount(value) == expected


def test_amounts_with_more_digits():
    """Neighbouring ticks of an axis keep different labels."""
    assert [amount(at, 6) for at in (1_000_500.0, 1_001_000.0)] == ["1.0005 M", "1.001 M"]
