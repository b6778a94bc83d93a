"""A comparison's figures and steps as pandas frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtrack._optional import load
from lrtrack.errors import UsageError, unknown
from lrtrack.fields import flatten
from lrtrack.stats import Comparison, RunSummary

if TYPE_CHECKING:
    import pandas as pd

    from lrtrack.records import History

#: The columns of a step that say which run it belongs to.
_WHICH = ("run_id", "label", "schedule", "seed")
#: The fields that say which run a row is about.
_IDENTITY = (
    "run_id", "name", "schedule", "seed", "group", "device.type", "device.name", "state",
    "tracker", "url", "started",
)  # fmt: skip
_SETTINGS = ("scheduler.", "optimizer.", "config.", "tags.")
#: Figures of a run that are arrays, or that stand among the columns that say which run it is.
_LEFT_OUT = ("run_id", "seed")
#: How figures that may be missing are kept, by their annotation.
_KINDS = {"int | None": "Int64", "float | None": "float64"}


def schedules_frame(comparison: Comparison) -> pd.DataFrame:
    """One row a schedule, best first, with every figure of a `lrtrack.stats.ScheduleSummary`.

    The names are those of `to_dict()`, joined by underscores as in the CSV format: `final_mean`,
    `grad_norm_p95`; the ends of an interval are `…_low` and `…_high`. `params`, `…_values`,
    `run_ids` and `seeds` hold a mapping and lists. Times are in seconds; what has no value is NaN
    or None.
    """
    frame = _frame([_row(item) for item in comparison.to_dict()["schedules"]])
    nowhere = [name for name in frame if name != "id" and frame[name].isna().all()]
    return frame.astype(dict.fromkeys(nowhere, "float64"))


def runs_frame(comparison: Comparison) -> pd.DataFrame:
    """One row a run, schedule by schedule, best first, and by seed.

    First `label`, that of the run's group, and the fields of `History.fields()` that say which run
    it is: `run_id` (the tracker's own), `name`, `schedule` (its name), `seed`, `group`,
    `device.type`, `device.name`, `state`, `tracker`, `url`, `started` (seconds since the epoch).
    Then every figure of `lrtrack.stats.RunSummary`: `steps`, `final`, `best`, … Last `scheduler.…`,
    `optimizer.…`, `config.…` and `tags.…`. A field that a run lacks is NaN or None.
    """
    rows = [
        {"label": label} | _identity(history) | _figures(figures) | _settings(history)
        for label, figures, history in zip(
            _labels(comparison), comparison.runs, comparison.histories, strict=True
        )
    ]
    kinds = {"seed": "Int64"} | {
        field.name: _KINDS[str(field.type)]
        for field in fields(RunSummary)
        if str(field.type) in _KINDS
    }
    return _frame(rows).astype(kinds if rows else {})


def histories_frame(
    comparison: Comparison, metrics: str | Sequence[str] | None = None
) -> pd.DataFrame:
    """One row a run and step, in the order of `runs_frame`: ready for `groupby` and plotting.

    Columns: `run_id`, `label` (that of its group), `schedule` (its name), `seed`, `step` (optimizer
    steps before this one), `time` (seconds since the epoch), `seconds` (since the run's first
    record), then one per metric, without the run's prefix; NaN where a step has no value, and where
    it is NaN.

    Args:
        comparison: whose runs.
        metrics: which ones, in this order; None: all. Steps that have none of them are left out.

    Raises:
        UsageError: no run has one of the metrics.
    """
    names = _metrics(comparison.histories, metrics)
    parts: dict[str, list[Any]] = {
        name: [] for name in (*_WHICH, "step", "time", "seconds", *names)
    }
    for label, history in zip(_labels(comparison), comparison.histories, strict=True):
        columns = {name: history.name_of(name) for name in names}
        shown = [history.present[found] for found in columns.values() if found is not None]
        kept = np.logical_or.reduce(shown) if shown else np.zeros(history.steps.size, dtype=bool)
        size, times = int(kept.sum()), history.times[kept]
        parts["run_id"].append(np.full(size, history.id, dtype=object))
        parts["label"].append(np.full(size, label, dtype=object))
        parts["schedule"].append(np.full(size, history.run.schedule.name, dtype=object))
        parts["seed"].append(np.full(size, history.run.seed, dtype=object))
        parts["step"].append(history.steps[kept])
        parts["time"].append(times)
        parts["seconds"].append(times - (history.times[0] if history.times.size else 0.0))
        for name, found in columns.items():
            empty = np.full(size, np.nan)
            parts[name].append(empty if found is None else history.metrics[found][kept])
    frame: pd.DataFrame = load("pandas").DataFrame(
        {n: np.concatenate(p) if p else [] for n, p in parts.items()}
    )
    return frame.astype({"run_id": "str", "label": "str", "schedule": "str", "seed": "Int64"})


def _labels(comparison: Comparison) -> list[str]:
    """The label of each run's schedule, in the order of `comparison.runs`."""
    return [item.label for item in comparison.schedules for _ in item.run_ids]


def _metrics(histories: Sequence[History], asked: str | Sequence[str] | None) -> list[str]:
    known = dict.fromkeys(
        name.removeprefix(history.run.prefix) for history in histories for name in history.metrics
    )
    if asked is None:
        return list(known)
    names = [asked] if isinstance(asked, str) else list(dict.fromkeys(asked))
    for name in names:
        if all(history.name_of(name) is None for history in histories):
            raise UsageError(unknown("metric", name, known))
    return names


def _identity(history: History) -> dict[str, Any]:
    row = history.fields()
    return {name: row.get(name) for name in _IDENTITY}


def _figures(figures: RunSummary) -> dict[str, Any]:
    names = [field.name for field in fields(figures) if field.name not in _LEFT_OUT]
    return {name: getattr(figures, name) for name in names}


def _settings(history: History) -> dict[str, Any]:
    return {n: value for n, value in history.fields().items() if n.startswith(_SETTINGS)}


def _row(schedule: Mapping[str, Any]) -> dict[str, Any]:
    """One schedule's mapping on one level: intervals by their ends, parameters as they are."""
    figures: dict[str, Any] = {}
    for name, value in flatten({**schedule, "params": None}, separator="_").items():
        if name.rpartition("_")[2].startswith("ci"):
            low, high = value or (None, None)
            figures |= {f"{name}_low": low, f"{name}_high": high}
        else:
            figures[name] = value
    return figures | {"params": schedule["params"]}


def _frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a frame, the columns in the order of their first appearance."""
    names = list(dict.fromkeys(chain.from_iterable(rows)))
    columns = {name: [row.get(name) for row in rows] for name in names}
    frame: pd.DataFrame = load("pandas").DataFrame(columns)
    return frame
