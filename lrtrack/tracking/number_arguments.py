"""Checks and conversions of arguments of `track()` that are numbers, of any library."""

from __future__ import annotations

import contextlib
import math
import operator
from typing import Any

import torch

from lrtrack.capture.device_scalars import Scalar, hold, together
from lrtrack.errors import UsageError, clean

#: The largest integer that trackers and readers can hold.
LARGEST = 2**63 - 1


def integer(name: str, value: Any, minimum: int = -LARGEST - 1) -> int:
    """Convert an integer of Python, NumPy or torch.

    Raises:
        UsageError: it is not an integer, or out of range.
    """
    number = None if isinstance(value, bool) else whole(value)
    if number is None or not minimum <= number <= LARGEST:
        bounds = f"at least {minimum}" if minimum >= 0 else "of at most 64 bits"
        raise UsageError(f"{name} must be an integer, {bounds}; got {shown_value(value)}.")
    return number


def seconds(name: str, value: Any) -> float:
    """Convert a time to wait, which may be infinite.

    Raises:
        UsageError: it is not a number, negative or NaN.
    """
    try:
        number = math.nan if isinstance(value, bool | str | bytes) else float(value)
    except Exception:
        number = math.nan
    if not number >= 0:
        raise UsageError(
            f"{name} must be a number of seconds, at least 0; got {shown_value(value)}. Fix: pass "
            "0 for no wait, or math.inf for no limit."
        )
    return number


def scalar(name: str, value: Any) -> Scalar:
    """Convert a number of any library, without waiting for a tensor's device.

    Raises:
        UsageError: it is not one real number.
    """
    if isinstance(value, torch.Tensor):
        if value.numel() == 1 and not value.is_complex() and value.dtype is not torch.bool:
            return together(hold(value))
    elif type(value).__name__ not in ("bool", "bool_", "str", "bytes"):
        with contextlib.suppress(Exception):  # whatever an object of another library raises
            return float(value)
    raise UsageError(
        f"{name} must be a number, got {shown_value(value)}. Fix: pass a float or a tensor with "
        "one element, or leave it out."
    )


def whole(value: Any) -> int | None:
    """The value of an integer of any library; None if it is not an integer."""
    if isinstance(value, torch.Tensor) and (value.numel() != 1 or value.dtype is torch.bool):
        return None
    if type(value).__name__ in ("bool", "bool_"):  # NumPy's
        return None
    try:
        number: Any = value.item() if isinstance(value, torch.Tensor) else value
        return operator.index(number)
    except Exception:
        return None


def shown_value(value: Any) -> str:
    """A value for a message: short and on one line, even if its `__repr__` fails."""
    kind = type(value).__name__
    try:
        shown = clean(repr(value))
    except Exception:
        return f"an object of class {kind}"
    return f"{shown[:80]}{'…' if len(shown) > 80 else ''} ({kind})"
