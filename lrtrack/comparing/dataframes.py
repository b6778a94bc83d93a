"""A comparison's figures and steps as pandas frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtrack._optional import load
from lrtrack.errors import UsageError, unknown
from lrtrack.stats import Comparison, RunSummary

if TYPE_CHECKING:
    import pandas as pd

    from lrtrack.records import History

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
    frame = _frame([_flat(item) for item in comparison.to_dict()["schedules"]])
    nowhere = [name for name in frame if name != "id" and frame[name].isna().all()]
    return frame.astype(dict.fromkeys(nowhere, "float64"))


def runs_frame(comparison: Comparison) -> pd.DataFrame:
    """One row a run, schedule by schedule, best first, and by seed.

    First which run it is: `run_id` (the tracker's own), `name`, `schedule` (the label of its
    group), `schedule_id`, `seed`, `group`, `device`, `state`, `tracker`, `url`, `started` (seconds
    since the epoch). Then every figure of `lrtrack.stats.RunSummary`: `steps`, `final`, `best`, …
    Last `scheduler.…`, `optimizer.…`, `config.…` and `tags.…`, NaN or None where a run has no such
    parameter.
    """
    rows = [
        _identity(history, label) | _figures(figures) | _settings(history)
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

    Columns: `run_id`, `schedule` (the label of its group), `seed`, `step` (optimizer steps before
    this one), `time` (seconds since the epoch), `seconds` (since the run's first record), then one
    a metric, without the run's prefix; NaN where a step has no value, and where it is NaN.

    Args:
        comparison: whose runs.
        metrics: which ones, in this order; None: all. Steps that have none of them are left out.

    Raises:
        UsageError: no run has one of the metrics.
    """
    names = _metrics(comparison.histories, metrics)
    parts: dict[str, list[Any]] = {
        name: [] for name in ("run_id", "schedule", "seed", "step", "time", "seconds", *names)
    }
    for label, history in zip(_labels(comparison), comparison.histories, strict=True):
        columns = {name: history.name_of(name) for name in names}
        shown = [history.present[found] for found in columns.values() if found is not None]
        kept = np.logical_or.reduce(shown) if shown else np.zeros(history.steps.size, dtype=bool)
        size, times = int(kept.sum()), history.times[kept]
        parts["run_id"].append(np.full(size, history.id, dtype=object))
        parts["schedule"].append(np.full(size, label, dtype=object))
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
    return frame.astype({"run_id": "str", "schedule": "str", "seed": "Int64"})


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


def _identity(history: History, label: str) -> dict[str, Any]:
    run = history.run
    return {
        "run_id": history.id,
        "name": run.name,
        "schedule": label,
        "schedule_id": run.schedule.id,
        "seed": run.seed,
        "group": run.group,
        "device": run.device_name or run.device_type,
        "state": str(history.state),
        "tracker": history.tracker,
        "url": history.url,
        "started": run.started,
    }


def _figures(figures: RunSummary) -> dict[str, Any]:
    names = [field.name for field in fields(figures) if field.name not in _LEFT_OUT]
    return {name: getattr(figures, name) for name in names}


def _settings(history: History) -> dict[str, Any]:
    run = history.run
    return {
        **{f"scheduler.{key}": value for key, value in _dotted(run.schedule.to_dict())},
        **{f"optimizer.{key}": value for key, value in run.optimizer.items()},
        **{f"config.{key}": value for key, value in _dotted(run.config)},
        **{f"tags.{key}": value for key, value in run.tags.items()},
    }


def _dotted(data: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Inner mappings by dotted keys, those in lists by their place: `schedulers.0.name`."""
    for key, value in data.items():
        inner: Any = value
        if isinstance(value, list | tuple) and any(isinstance(part, Mapping) for part in value):
            inner = {str(place): part for place, part in enumerate(value)}
        if isinstance(inner, Mapping):
            yield from _dotted(inner, f"{before}{key}.")
        else:
            yield before + key, value


def _flat(item: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """One level of a schedule's mapping: inner mappings by joined keys, intervals by their ends."""
    found: dict[str, Any] = {}
    for key, value in item.items():
        if key.startswith("ci"):
            low, high = value or (None, None)
            found |= {f"{before}{key}_low": low, f"{before}{key}_high": high}
        elif isinstance(value, Mapping) and key != "params":
            found |= _flat(value, f"{before}{key}_")
        else:
            found[before + key] = value
    return found


def _frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a frame, the columns in the order of their first appearance."""
    names = list(dict.fromkeys(chain.from_iterable(rows)))
    columns = {name: [row.get(name) for row in rows] for name in names}
    frame: pd.DataFrame = load("pandas").DataFrame(columns)
    return frame
