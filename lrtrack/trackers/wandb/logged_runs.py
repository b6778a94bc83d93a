"""Runs in W&B that lrtrack did not record: other integrations' loggers, or `wandb.log` by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import numpy as np

from lrtrack.fields import flatten
from lrtrack.records import Run
from lrtrack.records.alignment import Series
from lrtrack.records.logged import LoggedRun, run_of
from lrtrack.records.roles import Roles
from lrtrack.schedules import Schedule
from lrtrack.schedules.schedule import UNKNOWN
from lrtrack.trackers import per_run
from lrtrack.trackers.wandb import destination
from lrtrack.trackers.wandb.description import state_of
from lrtrack.trackers.wandb.history_rows import number_in, time_of
from lrtrack.trackers.wandb.publishing import ID as REPORT_ID

#: Columns that count optimizer steps, the most usual first, where W&B's own counts calls of `log`.
_STEPS = ("trainer/global_step", "train/global_step", "global_step")
_OWN_STEP = "_step"

#: Called with the number of points that were left out, and the reason for the first.
OnOdd = Callable[[int, str], None]


def is_report(wandb_run: Any) -> bool:
    """Whether the run holds published reports."""
    return str(wandb_run.id).startswith(REPORT_ID)


def logged_run(wandb_run: Any, path: str) -> LoggedRun:
    """A run without its points.

    Args:
        wandb_run: the run on the server.
        path: the project, as `entity/project`.

    Raises:
        OddRun: its state is not valid.
    """
    config = wandb_run.config if isinstance(wandb_run.config, Mapping) else {}
    metadata = getattr(wandb_run, "_attrs", {}).get("metadata")
    gpu = metadata.get("gpu") if isinstance(metadata, Mapping) else None
    return LoggedRun(
        id=str(wandb_run.id),
        name=str(wandb_run.name or ""),
        tracker=destination.NAME,
        state=state_of(wandb_run),
        experiment=path,
        url=str(wandb_run.url) if wandb_run.url else None,
        started=created_at(wandb_run),
        group=str(wandb_run.group) if wandb_run.group else None,
        params={name: value for name, value in config.items() if not str(name).startswith("_")},
        tags={str(tag): "true" for tag in wandb_run.tags or ()},
        device_type="cuda" if isinstance(gpu, str) and gpu else "",
        device_name=gpu if isinstance(gpu, str) else "",
    )


def run_from(wandb_run: Any, path: str, roles: Roles) -> Run:
    """The identity of a run, before its learning rates are read."""
    return run_of(logged_run(wandb_run, path), Schedule(UNKNOWN), roles)[0]


def created_at(wandb_run: Any) -> float:
    """When the run began, in seconds since the epoch; 0 if that is unknown."""
    try:
        return per_run.moment(datetime.fromisoformat(str(wandb_run.created_at)).timestamp())
    except (ValueError, OverflowError, AttributeError):
        return 0.0


def fetch_series(wandb_run: Any, on_odd: OnOdd) -> dict[str, Series]:
    """Fetch every point of a run, never W&B's sample of them.

    A row belongs to the optimizer step that a counter of steps in it says; a row without the
    counter to the step before it. In a run without such a counter, W&B's own steps count.

    Args:
        wandb_run: the run on the server.
        on_odd: called if there are points without a valid step or time.
    """
    rows = [_flat(row) for row in wandb_run.scan_history(use_cache=False)]
    counter = next((name for name in _STEPS if any(name in row for row in rows)), _OWN_STEP)
    points: dict[str, tuple[list[int], list[float], list[float]]] = {}
    odd: list[str] = []
    step = 0
    for row in rows:
        value = row.get(counter)
        own, when = per_run.step_of(value), time_of(row)
        if (own is None and value is not None) or when is None:
            name = counter if own is None and value is not None else "_timestamp"
            odd.append(f"{name} is {json.dumps(row[name], default=str)[:80]}")
            continue
        step = step if own is None else own
        for name, number in _numbers(row, counter):
            steps, values, times = points.setdefault(name, ([], [], []))
            steps.append(step)
            values.append(number)
            times.append(when)
    if odd:
        on_odd(len(odd), odd[0])
    return {
        name: Series(np.array(steps, np.int64), np.array(values), np.array(times))
        for name, (steps, values, times) in points.items()
    }


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with dotted names for what was logged as nested mappings."""
    if not any(isinstance(value, Mapping) for value in row.values()):
        return dict(row)
    return flatten({k: v for k, v in row.items() if not _is_media(v)})


def _is_media(value: Any) -> bool:
    return isinstance(value, Mapping) and "_type" in value


def _numbers(row: Mapping[str, Any], counter: str) -> Iterable[tuple[str, float]]:
    for name, value in row.items():
        if name == counter or name.startswith("_"):
            continue
        number = number_in(value)
        if number is not None:
            yield name, number
