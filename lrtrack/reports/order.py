"""The order of a report's rows by one of their fields."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import accumulate
from typing import Any, TypeVar

from lrtrack.errors import UsageError
from lrtrack.fields import JSON, flatten, names_of, resolve, text_of, unknown_field
from lrtrack.records import History
from lrtrack.reports.runs import rows_of
from lrtrack.stats import ComparisonResult, ScheduleSummary

ComparisonT = TypeVar("ComparisonT", bound=ComparisonResult)

#: The figures of a schedule that order rows.
_FIGURES = (
    "rank", "schedule", "label", "id", "source", "runs", "diverged", "unfinished", "steps", "final",
    "best", "steps_to_target", "seconds_to_target", "x_to_target", "lr_peak", "grad_norm",
    "steps_per_second", "vs_best", "p_vs_best", "p_improvement", "seeds_to_tell",
)  # fmt: skip
#: The part of a figure with several parts that orders rows.
_PARTS = {
    "final": "final.mean",
    "steps_to_target": "steps_to_target.median",
    "seconds_to_target": "seconds_to_target.median",
    "x_to_target": "x_to_target.median",
    "grad_norm": "grad_norm.median",
    "vs_best": "vs_best.difference",
}


def by_field(comparison: ComparisonT, field: str) -> ComparisonT:
    """The comparison with its schedules, and their runs, in the order of a field.

    Args:
        comparison: the comparison; ranks and conclusions stay.
        field: a figure of a schedule, such as `final`, `runs`, `lr_peak` or `label`, or one of its
            parameters; descending with a `-` before it. Schedules without a value come last.

    Raises:
        UsageError: no schedule has the field.
    """
    order = _order([_figures(item, comparison.mode) for item in comparison.schedules], field)
    ends = list(accumulate(item.runs for item in comparison.schedules))
    runs = [
        at
        for index in order
        for at in range(ends[index] - comparison.schedules[index].runs, ends[index])
    ]
    return replace(
        comparison,
        schedules=tuple(comparison.schedules[index] for index in order),
        runs=tuple(comparison.runs[at] for at in runs),
        histories=tuple(comparison.histories[at] for at in runs),
    )


def runs_by_field(histories: Sequence[History], field: str, metric: str) -> list[History]:
    """Runs in the order of a field.

    Args:
        histories: the runs.
        field: a field of `History.fields()`, or `final`, `steps` or `device`; descending with a `-`
            before it. Runs without a value come last.
        metric: whose final value `final` is.

    Raises:
        UsageError: no run has the field.
    """
    rows = [
        {**history.fields(), "final": row.final, "steps": row.steps, "device": row.device}
        for history, row in zip(histories, rows_of(histories, metric), strict=True)
    ]
    return [histories[index] for index in _order(rows, field)]


def _figures(item: ScheduleSummary, mode: str) -> dict[str, JSON]:
    data = flatten(asdict(item))
    figures = {name: data.get(_PARTS.get(name, name)) for name in _FIGURES}
    figures["best"] = item.best.min if mode == "min" else item.best.max
    return figures | flatten(item.params, "params.")


def _order(rows: Sequence[Mapping[str, JSON]], field: str) -> list[int]:
    """The indices of `rows` in the order of a field; rows that are equal keep their order."""
    descending = field.startswith("-")
    wanted = field.removeprefix("-").strip()
    known = names_of(rows)
    name = wanted if wanted in known else f"params.{wanted}"
    if name not in known:
        resolved = resolve(wanted, known) if wanted else None
        if resolved is None:
            raise _unknown(wanted, known)
        name = resolved
    values = [_value(row.get(name)) for row in rows]
    valued = [index for index, value in enumerate(values) if value is not None]
    missing = [index for index, value in enumerate(values) if value is None]
    # Reversed, too, `sort` keeps the order of equal rows.
    valued.sort(key=lambda index: values[index] or (), reverse=descending)
    return [*valued, *missing]


def _value(value: JSON) -> tuple[int, float, str] | None:
    """A key that orders numbers, also those that are text, before all other text."""
    if value is None or value == "":
        return None
    number = _number(value)
    if number is not None:
        return None if math.isnan(number) else (0, number, "")
    return 1, 0.0, text_of(value)


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, str | int | float) else None
    except (ValueError, OverflowError):
        return None


def _unknown(name: str, known: set[str]) -> UsageError:
    return unknown_field("sort by", name, {field.removeprefix("params.") for field in known})
