"""The optimizers that an Accelerator has prepared, with their schedulers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from lrtrack.capture.optimizers import unwrap
from lrtrack.capture.ownership import foreign
from lrtrack.errors import warn
from lrtrack.integrations._callback_runs import distinct_prefixes


def inner_of(optimizer: Any) -> Any:
    """The torch optimizer inside; an engine's own, which has none, as it is."""
    try:
        return unwrap(optimizer)
    except TypeError:
        return optimizer


def pairs_of(
    optimizers: Iterable[Any], schedulers: Iterable[Any]
) -> Iterator[tuple[Any, Any, str]]:
    """Each optimizer with the scheduler that changes it and the prefix of its metrics."""
    optimizers = list(optimizers)
    inners = [unwrap(optimizer) for optimizer in optimizers]
    prefixes = distinct_prefixes(type(inner).__name__ for inner in inners)
    for optimizer, inner, prefix in zip(optimizers, inners, prefixes, strict=True):
        matching = [s for s in schedulers if foreign(optimizer, s) is None]
        if not matching and hasattr(inner.step, "_wrapped_by_lr_sched"):  # set by torch
            warn(
                f"LRTrack: the {type(inner).__name__} has a scheduler that did not go through "
                "prepare(), so its name and parameters are unknown; its learning rates are still "
                "recorded. Fix: prepare it, or pass LRTrack(optimizer, scheduler)."
            )
        yield optimizer, next(iter(matching), None), prefix if len(optimizers) > 1 else ""
