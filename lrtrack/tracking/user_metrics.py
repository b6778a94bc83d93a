"""Conversion of the metrics that users log into values that a journal can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lrtrack.capture.device_scalars import hold, together
from lrtrack.errors import warn


def numbers(metrics: Mapping[str, Any], prefix: str, rejected: set[str]) -> dict[str, Any]:
    """Convert metrics to columns and their values; skip non-numbers, with one warning per name.

    Args:
        metrics: metric name to number or one-element tensor.
        prefix: put before each name.
        rejected: names that were already warned about; extended.
    """
    columns: dict[str, Any] = {}
    for name, value in metrics.items():
        try:
            is_tensor = isinstance(value, torch.Tensor)
            number = together(hold(value)) if is_tensor else float(value)
            columns[_column(prefix + str(name))] = number
        except (TypeError, ValueError, RuntimeError):
            if name not in rejected:
                rejected.add(name)
                warn(f"Metric {name!r} is not a number: {str(value)[:80]!r} is skipped.")
    return columns


def _column(name: str) -> str:
    """The name of a metric's column: `step` and `time` are taken."""
    return f"{name}_" if name in ("step", "time") else name
