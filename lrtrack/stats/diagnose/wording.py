"""Figures in messages as people write them."""

from __future__ import annotations

import math

_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def times(ratio: float) -> str:
    """Format a ratio of at least 1: `1.5 times`, `40 times`, or `5×10⁹ times` for huge ones."""
    if ratio < 10.0:
        return f"{ratio:.2g} times"
    if ratio < 1e5 or not math.isfinite(ratio):
        return f"{ratio:.0f} times"
    digits, _, power = f"{ratio:.0e}".partition("e+")
    return f"{digits}×10{str(int(power)).translate(_RAISED)} times"
