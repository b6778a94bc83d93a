"""Histories made from numbers at hand, such as columns of a file, instead of a tracker's run."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtrack.errors import UsageError
from lrtrack.fields import JSON
from lrtrack.records.run import Run
from lrtrack.schedules import Schedule
from lrtrack.schedules.schedule import DECLARED
from lrtrack.schedules.spec import SpecError, parse

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: The tracker's name in such a history.
SERIES = "series"


def schedule_named(text: str) -> Schedule:
    """The schedule that a text names: a spec, or any other name.

    Raises:
        UsageError: the text is a spec whose values are wrong.
    """
    from lrtrack.schedules.catalogue import KINDS, stages_of
    from lrtrack.schedules.inference.infer import schedule_of

    try:
        stages = parse(text)
    except SpecError:
        return Schedule(text)
    if all(stage.name in KINDS for stage in stages):
        stages_of(text)  # checks the values
    return replace(schedule_of(stages), source=DECLARED)


def run_of(
    schedule: Schedule | str, seed: int | None, config: Mapping[str, JSON] | None, name: str | None
) -> Run:
    """The run of such a history."""
    own = schedule_named(schedule) if isinstance(schedule, str) else schedule
    label = name or (own.name if seed is None else f"{own.name}-seed{seed}")
    return Run(
        id=uuid.uuid4().hex, name=label, schedule=own, seed=seed, config=config or {},
        device_type="",  # nobody said so
    )  # fmt: skip


def columns_of(
    metrics: Mapping[str, ArrayLike], step: ArrayLike | None, time: ArrayLike | None
) -> dict[str, Any]:
    """The arrays of a `History`, checked.

    Raises:
        UsageError: the arrays differ in length, are not one-dimensional numbers, or the steps do
            not ascend from at least 0.
    """
    values = {name: _values(name, column) for name, column in metrics.items()}
    given = {name: np.ma.getdata(column) for name, column in values.items()}
    for name, column in (("step", step), ("time", time)):
        if column is not None:
            given[name] = np.ma.getdata(_values(name, column))
    sizes = {name: column.size for name, column in given.items()}
    if len(set(sizes.values())) > 1:
        texts = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise UsageError(f"All series of a history must have one length, got {texts}.")
    size = max(sizes.values(), default=0)
    steps = given.get("step", np.arange(size, dtype=np.float64)) if step is not None else None
    whole = np.arange(size, dtype=np.int64) if steps is None else steps.astype(np.int64)
    if steps is not None and ((whole != steps).any() or (np.diff(steps, prepend=-1) <= 0).any()):
        raise UsageError("Steps must be whole numbers from 0 on, in ascending order.")
    times = np.zeros(size) if time is None else given["time"]
    if not np.isfinite(times).all():
        raise UsageError("Times must be finite numbers, in seconds.")
    return {
        "steps": whole,
        "times": times,
        "metrics": {name: np.ma.filled(column, np.nan) for name, column in values.items()},
        "present": {name: ~np.ma.getmaskarray(column) for name, column in values.items()},
    }


def _values(name: str, column: ArrayLike) -> np.ma.MaskedArray[Any, np.dtype[np.float64]]:
    """The numbers of one series; None and masked entries are missing."""
    if isinstance(column, np.ma.MaskedArray):
        mask: NDArray[np.bool_] = np.ma.getmaskarray(column)
        raw: Any = np.ma.getdata(column)
    else:
        raw = np.asarray(column)
        mask = np.zeros(raw.shape, dtype=bool)
        if raw.dtype == object:
            mask = np.array([value is None for value in raw.flat]).reshape(raw.shape)
            raw = np.where(mask, np.nan, raw)
    try:
        numbers = np.array(raw, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"{name} must be a sequence of numbers.") from None
    if numbers.ndim != 1:
        raise UsageError(f"{name} must have one dimension, not {numbers.ndim}.")
    return np.ma.MaskedArray(numbers, np.broadcast_to(mask, numbers.shape))
