"""Schedulers inside schedulers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from lrtrack.capture.describe import INNER


def nested(scheduler: Any, depth: int = 0) -> Iterator[Any]:
    """Yield a scheduler and all schedulers inside it."""
    if scheduler is None or depth > 8:
        return
    yield scheduler
    inner: Any = getattr(scheduler, "_schedulers", None)
    inner = inner or [getattr(scheduler, name, None) for name in INNER]
    inner = inner if isinstance(inner, Iterable) else [inner]
    for part in inner:
        if hasattr(part, "step"):
            yield from nested(part, depth + 1)
