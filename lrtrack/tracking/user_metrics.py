"""Metrics that the user gives in his own words, made fit for the journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lrtrack.capture.device_scalars import hold, together
from lrtrack.errors import warn


def numbers(given: Mapping[str, Any], prefix: str, refused: set[str]) -> dict[str, Any]:
    """Columns and their values; what is no number is left out, with one warning a name.

    Args:
        given: metric name to number or one-element tensor.
        prefix: put before each name.
        refused: names that were warned of already; added to.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        try:
            tensor = isinstance(value, torch.Tensor)
            number = together(hold(value)) if tensor else float(value)
            found[_column(prefix + str(name))] = number
        except (TypeError, ValueError, RuntimeError):
            if name not in refused:
                refused.add(name)
                warn(f"metric {name!r} is not a number: {str(value)[:80]!r} is left out")
    return found


def _column(name: str) -> str:
    """Metric names as the columns of a history can hold them: `step` and `time` are taken."""
    return f"{name}_" if name in ("step", "time") else name
