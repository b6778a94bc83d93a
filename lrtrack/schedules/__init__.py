"""Learning-rate schedules as plain data, without torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lrtrack.schedules.schedule import CONSTANT, Schedule, label_of
from lrtrack.schedules.several import parts_of, side_by_side
from lrtrack.schedules.to_spec import spec_of

if TYPE_CHECKING:
    from lrtrack.schedules.inference.infer import InferredSchedule, infer_schedule

__all__ = [
    "CONSTANT",
    "InferredSchedule",
    "Schedule",
    "infer_schedule",
    "label_of",
    "parts_of",
    "side_by_side",
    "spec_of",
]


def __getattr__(name: str) -> Any:
    # It needs NumPy, which a command that only reads specs need not load.
    if name not in ("InferredSchedule", "infer_schedule"):
        raise AttributeError(f"module 'lrtrack.schedules' has no attribute {name!r}")
    value = getattr(importlib.import_module("lrtrack.schedules.inference.infer"), name)
    globals()[name] = value
    return value
