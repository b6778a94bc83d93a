"""lrtrack: records learning-rate schedules and compares how well they train.

Names are imported on first use, so that `import lrtrack` loads neither torch nor a tracker.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lrtrack.errors import LRTrackError, LRTrackWarning, TrainingStopped

if TYPE_CHECKING:
    from lrtrack import schedules as schedules
    from lrtrack import trackers as trackers
    from lrtrack.capture.describe import describe
    from lrtrack.capture.effective_lr import register_effective_lr
    from lrtrack.capture.from_spec import scheduler
    from lrtrack.capture.inverse_sqrt import InverseSqrtLR
    from lrtrack.capture.ranger import ranger
    from lrtrack.capture.simulate import simulate
    from lrtrack.capture.time_decay import TimeDecayLR
    from lrtrack.comparing import Comparison, compare, histories
    from lrtrack.finder import LRFinderResult, find_lr
    from lrtrack.records import History
    from lrtrack.schedules import InferredSchedule, Schedule, infer_schedule
    from lrtrack.tracking import TrackedRun, start, track

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "History",
    "InferredSchedule",
    "InverseSqrtLR",
    "LRFinderResult",
    "LRTrackError",
    "LRTrackWarning",
    "Schedule",
    "TimeDecayLR",
    "TrackedRun",
    "TrainingStopped",
    "__version__",
    "compare",
    "describe",
    "find_lr",
    "histories",
    "infer_schedule",
    "ranger",
    "register_effective_lr",
    "scheduler",
    "simulate",
    "start",
    "track",
]

_MODULES = {
    "Comparison": "lrtrack.comparing",
    "History": "lrtrack.records",
    "InferredSchedule": "lrtrack.schedules",
    "InverseSqrtLR": "lrtrack.capture.inverse_sqrt",
    "LRFinderResult": "lrtrack.finder",
    "Schedule": "lrtrack.schedules",
    "TimeDecayLR": "lrtrack.capture.time_decay",
    "TrackedRun": "lrtrack.tracking",
    "compare": "lrtrack.comparing",
    "describe": "lrtrack.capture.describe",
    "find_lr": "lrtrack.finder",
    "histories": "lrtrack.comparing",
    "infer_schedule": "lrtrack.schedules",
    "ranger": "lrtrack.capture.ranger",
    "register_effective_lr": "lrtrack.capture.effective_lr",
    "scheduler": "lrtrack.capture.from_spec",
    "simulate": "lrtrack.capture.simulate",
    "start": "lrtrack.tracking",
    "track": "lrtrack.tracking",
}


#: Packages that users reach as attributes, as in `lrtrack.schedules.spec_of`.
_PACKAGES = ("schedules", "trackers")


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"lrtrack.{name}")
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'lrtrack' has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_PACKAGES})
