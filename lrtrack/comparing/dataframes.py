"""The figures and steps of a comparison as pandas data frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtrack._optional import load
from lrtrack.errors import UsageError, unknown
from lrtrack.fields import flatten
from lrtrack.stats import ComparisonResult, RunSummary

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
#: Figures that are among the fields that say which run it is.
_IN_IDENTITY = ("run_id", "seed")
#: Figures that have no column where they were not asked for.
_OPTIONAL = ("tuning", "tasks", "across", "equivalent")
_NO_EFFECT = {"difference": None, "ci95": None, "p": None}
#: The dtypes of figures that may be missing, by their annotation.
_DTYPES = {"int | None": "Int64", "float | None": "float64"}


def schedules_frame(comparison: ComparisonResult) -> pd.DataFrame:
    """One row per schedule, best first, with every figure of a `lrtrack.stats.ScheduleSummary`.

    The names are those of `to_dict()`, joined by underscores as in the CSV format: `final_mean`,
    `grad_norm_p95`; the ends of an interval are `…_low` and `…_high`. `params` holds a mapping, and
    `…_values`, `run_ids` and `seeds` hold lists. Times are in seconds; a missing value is NaN or
    None.
    """
    frame = _frame([_row(item) for item in comparison.to_dict()["schedules"]])
    empty = [name for name in frame if name != "id" and frame[name].isna().all()]
    return frame.astype(dict.fromkeys(empty, "float64"))


def runs_frame(comparison: ComparisonResult) -> pd.DataFrame:
    """One row per run: by schedule, best first, and by seed.

    First `label`, that of the run's group, and the fields of `History.fields()` that say which run
    it is: `run_id` (the tracker's own), `name`, `schedule` (its name), `seed`, `group`,
    `device.type`, `device.name`, `state`, `tracker`, `url`, `started` (seconds since the epoch).
    Then every figure of `lrtrack.stats.RunSummary`: `steps`, `final`, `best`, … Last `scheduler.…`,
    `optimizer.…`, `config.…` and `tags.…`. A field that a run lacks is NaN or None.
    """
    rows = [
        _run_row(label, history.fields(), figures)
        for label, figures, history in zip(
            _labels(comparison), comparison.runs, comparison.histories, strict=True
        )
    ]
    dtypes = {"seed": "Int64"} | {
        field.name: _DTYPES[str(field.type)]
        for field in fields(RunSummary)
        if str(field.type) in _DTYPES
    }
    return _frame(rows).astype(dtypes if rows else {})


def histories_frame(
    comparison: ComparisonResult, metrics: str | Sequence[str] | None = None
) -> pd.DataFrame:
    """One row per run and step, in the order of `runs_frame`, ready for `groupby` and plotting.

    Columns: `run_id`, `label` (that of its group), `schedule` (its name), `seed`, `step` (optimizer
    steps before this one), `time` (seconds since the epoch), `seconds` (since the run's first
    record), then one per metric, without the run's prefix; NaN where a step has no value, and where
    it is NaN.

    Args:
        comparison: the comparison.
        metrics: the metrics, in this order; None: all. Steps without any of them are dropped.

    Raises:
        UsageError: a metric is in no run.
    """
    names = _metrics(comparison.histories, metrics)
    parts: dict[str, list[Any]] = {
        name: [] for name in (*_WHICH, "step", "time", "seconds", *names)
    }
    for label, history in zip(_labels(comparison), comparison.histories, strict=True):
        columns = {name: history.name_of(name) for name in names}
        masks = [history.present[column] for column in columns.values() if column is not None]
        rows = np.logical_or.reduce(masks) if masks else np.zeros(history.steps.size, dtype=bool)
        size, times = int(rows.sum()), history.times[rows]
        parts["run_id"].append(np.full(size, history.id, dtype=object))
        parts["label"].append(np.full(size, label, dtype=object))
        parts["schedule"].append(np.full(size, history.run.schedule.name, dtype=object))
        parts["seed"].append(np.full(size, history.run.seed, dtype=object))
        parts["step"].append(history.steps[rows])
        parts["time"].append(times)
        parts["seconds"].append(times - (history.times[0] if history.times.size else 0.0))
        for name, column in columns.items():
            missing = np.full(size, np.nan)
            parts[name].append(missing if column is None else history.metrics[column][rows])
    frame: pd.DataFrame = load("pandas").DataFrame(
        {n: np.concatenate(p) if p else [] for n, p in parts.items()}
    )
    return frame.astype({"run_id": "str", "label": "str", "schedule": "str", "seed": "Int64"})


def _labels(comparison: ComparisonResult) -> list[str]:
    """The label of each run's schedule, in the order of `comparison.runs`."""
    return [item.label for item in comparison.schedules for _ in item.run_ids]


def _metrics(histories: Sequence[History], metrics: str | Sequence[str] | None) -> list[str]:
    known = dict.fromkeys(
        name.removeprefix(history.run.prefix) for history in histories for name in history.metrics
    )
    if metrics is None:
        return list(known)
    names = [metrics] if isinstance(metrics, str) else list(dict.fromkeys(metrics))
    for name in names:
        if all(history.name_of(name) is None for history in histories):
            raise UsageError(unknown("metric", name, known))
    return names


def _run_row(label: str, values: Mapping[str, Any], figures: RunSummary) -> dict[str, Any]:
    """One run's row: its identity, its figures and its settings, in this order."""
    figure_names = [field.name for field in fields(figures) if field.name not in _IN_IDENTITY]
    return {
        "label": label,
        **{name: values.get(name) for name in _IDENTITY},
        **{name: getattr(figures, name) for name in figure_names},
        **{name: value for name, value in values.items() if name.startswith(_SETTINGS)},
    }


def _row(schedule: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten one schedule's mapping: an interval becomes its ends, `params` stays a mapping."""
    figures: dict[str, Any] = {}
    own = {n: v for n, v in schedule.items() if n not in _OPTIONAL or v not in (None, [])}
    own |= {"params": None, "vs_best": schedule["vs_best"] or _NO_EFFECT}
    for name, value in flatten(own, separator="_").items():
        if name.rpartition("_")[2].startswith("ci"):
            low, high = value or (None, None)
            figures |= {f"{name}_low": low, f"{name}_high": high}
        else:
            figures[name] = value
    return figures | {"params": schedule["params"]}


def _frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A frame of rows, with the columns in the order of their first appearance."""
    names = list(dict.fromkeys(chain.from_iterable(rows)))
    columns = {name: [row.get(name) for row in rows] for name in names}
    frame: pd.DataFrame = load("pandas").DataFrame(columns)
    return frame
