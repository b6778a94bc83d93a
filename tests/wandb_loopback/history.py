"""Reading a run's history: pages, samples, keys, and exports to Parquet."""

from __future__ import annotations

import io
import json
import math
from typing import Any

from .state import Run


def value_at(row: dict[str, Any], key: str) -> Any:
    """A row's value by its key, or below it by a dotted path; None if there is none."""
    if key in row:
        return row[key]
    head, _, rest = key.partition(".")
    below = row.get(head)
    return value_at(below, rest) if rest and isinstance(below, dict) else None


def plain(value: Any) -> Any:
    """The same value with `"NaN"` and `"Infinity"` as texts: JSON answers have no such numbers."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def thinned(rows: list[Any], samples: int | None) -> list[Any]:
    """At most `samples` of the rows, evenly spaced, with the first and the last."""
    if not samples or len(rows) <= samples:
        return rows
    if samples == 1:
        return rows[:1]
    step = (len(rows) - 1) / (samples - 1)
    return [rows[round(index * step)] for index in range(samples)]


def between(
    rows: list[dict[str, Any]], low: int | None, stop: float | None
) -> list[dict[str, Any]]:
    """The rows from step `low` on and before step `stop`."""
    stop = float("inf") if stop is None else stop
    return [row for row in rows if (low or 0) <= row["_step"] < stop]


def page(
    run: Run,
    minStep: int | None = None,
    maxStep: int | None = None,
    samples: int | None = None,
) -> list[str]:
    """`history(…)`: rows as JSON texts; the last step is exclusive."""
    return [json.dumps(row) for row in thinned(between(run.history, minStep, maxStep), samples)]


def sampled(run: Run, spec: dict[str, Any]) -> list[dict[str, Any]]:
    """`sampledHistory` of one spec: rows that have all the keys; the last step is inclusive."""
    keys = list(dict.fromkeys(spec.get("keys") or []))
    last = spec.get("maxStep")
    found = []
    for row in between(run.history, spec.get("minStep"), None if last is None else last + 1):
        values = {key: value_at(row, key) for key in keys}
        if all(value is not None for value in values.values()):
            found.append(values if keys else row)
    return thinned(found, spec.get("samples"))


def samples(run: Run, specs: str | list[str]) -> list[list[dict[str, Any]]]:
    """`sampledHistory`: one list of rows for each spec; GraphQL takes one spec for a list."""
    specs = [specs] if isinstance(specs, str) else specs
    return [sampled(run, json.loads(spec)) for spec in specs]


def kind(value: Any) -> str:
    """The name that the service gives a value's type."""
    if isinstance(value, dict):
        return str(value.get("_type", "map"))
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)) or value in ("NaN", "Infinity", "-Infinity"):
        return "number"
    return "list" if isinstance(value, list) else "string"


def flattened(row: dict[str, Any], head: str = "") -> dict[str, Any]:
    """A row with nested values under dotted keys; media stay whole."""
    flat = {}
    for key, value in row.items():
        if isinstance(value, dict) and value and "_type" not in value:
            flat.update(flattened(value, f"{head}{key}."))
        else:
            flat[head + key] = value
    return flat


def keys(run: Run) -> dict[str, Any] | None:
    """`historyKeys`: every key with how often which type came, and the last step."""
    rows = run.history
    if not rows:
        return None
    counts: dict[str, dict[str, int]] = {}
    before: dict[str, Any] = {}
    rising: dict[str, bool] = {}
    for row in rows:
        for key, value in flattened(row).items():
            counts.setdefault(key, {})
            counts[key][kind(value)] = counts[key].get(kind(value), 0) + 1
            if isinstance(value, (int, float)):
                rising[key] = rising.get(key, True) and value >= before.get(key, value)
                before[key] = value
    described = {
        key: {
            "typeCounts": [{"type": name, "count": many} for name, many in found.items()],
            "monotonic": rising.get(key, False),
            "previousValue": before.get(key, -1),
        }
        for key, found in counts.items()
    }
    return {"sets": [], "keys": described, "lastStep": max(row["_step"] for row in rows)}


def parquet(run: Run) -> bytes:
    """The history as one Parquet file, columns by dotted key."""
    import pyarrow
    from pyarrow.parquet import write_table

    rows = [flattened(row) for row in run.history]
    names = list(dict.fromkeys(key for row in rows for key in row))
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        kinds = {kind(value) for value in values if value is not None}
        if kinds == {"number"}:
            values = [float(value) if isinstance(value, str) else value for value in values]
        elif len(kinds) > 1 or "map" in kinds:
            values = [None if value is None else json.dumps(value) for value in values]
        columns[name] = values
    whole = {
        "_step": pyarrow.int64(),
        "_timestamp": pyarrow.float64(),
        "_runtime": pyarrow.float64(),
    }
    arrays = {name: pyarrow.array(column, whole.get(name)) for name, column in columns.items()}
    sink = io.BytesIO()
    write_table(pyarrow.table(arrays), sink)
    return sink.getvalue()
