"""Choosing, ordering and paging: what `wandb.Api().runs(filters=…, order=…)` asks for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from .state import Run

_MISSING = object()
_PLAIN = {
    "name": "id",
    "displayname": "display_name",
    "state": "state",
    "tags": "tags",
    "group": "group",
    "groupname": "group",
    "jobtype": "job_type",
    "notes": "notes",
    "sweep": "sweep",
    "createdat": "created_at",
    "heartbeatat": "heartbeat_at",
    "commit": "commit",
    "host": "host",
}
_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda found, wanted: _equals(found, wanted),
    "$ne": lambda found, wanted: not _equals(found, wanted),
    "$in": lambda found, wanted: any(_equals(found, each) for each in wanted),
    "$nin": lambda found, wanted: not any(_equals(found, each) for each in wanted),
    "$gt": lambda found, wanted: _comparable(found, wanted) and found > wanted,
    "$gte": lambda found, wanted: _comparable(found, wanted) and found >= wanted,
    "$lt": lambda found, wanted: _comparable(found, wanted) and found < wanted,
    "$lte": lambda found, wanted: _comparable(found, wanted) and found <= wanted,
    "$regex": lambda found, wanted: isinstance(found, str) and bool(re.search(wanted, found)),
    "$exists": lambda found, wanted: (found is not _MISSING and found is not None) is bool(wanted),
}


def _equals(found: Any, wanted: Any) -> bool:
    if isinstance(found, list) and not isinstance(wanted, list):
        return wanted in found
    return bool(found == wanted or (found is _MISSING and wanted is None))


def _comparable(found: Any, wanted: Any) -> bool:
    numbers = (int, float)
    both = isinstance(found, numbers) and isinstance(wanted, numbers)
    return both or (isinstance(found, str) and isinstance(wanted, str))


def _inside(found: Any, path: Sequence[str]) -> Any:
    """The value below a dotted path, whose keys may contain dots themselves."""
    if not path:
        return found
    for length in range(len(path), 0, -1):
        key = ".".join(path[:length])
        if isinstance(found, dict) and key in found:
            deeper = _inside(found[key], path[length:])
            if deeper is not _MISSING:
                return deeper
    return _MISSING


def look_up(run: Run, key: str) -> Any:
    """The value of a run that a filter or an order names."""
    head, _, rest = key.partition(".")
    if head == "config":
        return _inside(run.config, re.sub(r"\.value(\.|$)", r"\1", rest, count=1).split("."))
    if head in ("summary_metrics", "summaryMetrics", "summary"):
        return _inside(run.summary, rest.split("."))
    attribute = _PLAIN.get(head.replace("_", "").lower())
    return getattr(run, attribute) if attribute else _MISSING


def matches(run: Run, wanted: dict[str, Any]) -> bool:
    """Whether the run passes a filter in the style of MongoDB."""
    for key, condition in wanted.items():
        if key == "$and":
            passed = all(matches(run, each) for each in condition)
        elif key == "$or":
            passed = any(matches(run, each) for each in condition)
        elif key in ("$not", "$nor"):
            parts = condition if isinstance(condition, list) else [condition]
            passed = not any(matches(run, each) for each in parts)
        elif isinstance(condition, dict) and any(name in _TESTS for name in condition):
            found = look_up(run, key)
            passed = all(_TESTS[name](found, value) for name, value in condition.items())
        else:
            passed = _equals(look_up(run, key), condition)
        if not passed:
            return False
    return True


def chosen(runs: list[Run], filters: str | None, order: str | None) -> list[Run]:
    """The runs that pass the filter, in order; those without the ordering value come last."""
    wanted = json.loads(filters) if filters else {}
    found = [run for run in runs if matches(run, wanted)]
    for key in reversed([part for part in (order or "").split(",") if part]):
        values = {run.id: look_up(run, key.lstrip("+-")) for run in found}
        having = [run for run in found if isinstance(values[run.id], (int, float, str))]
        rest = [run for run in found if not isinstance(values[run.id], (int, float, str))]
        mixed = len({isinstance(values[run.id], str) for run in having}) > 1
        having.sort(
            key=lambda run: str(values[run.id]) if mixed else values[run.id],
            reverse=key.startswith("-"),
        )
        found = having + rest
    return found


def page(
    nodes: Sequence[Any], first: int | None = None, after: str | None = None
) -> dict[str, Any]:
    """One page of a connection: edges with cursors, and where the next page begins."""
    start = int(after) + 1 if after else 0
    stop = len(nodes) if first is None else min(len(nodes), start + first)
    edges = [{"node": nodes[place], "cursor": str(place)} for place in range(start, stop)]
    return {
        "edges": edges,
        "pageInfo": {
            "__typename": "PageInfo",
            "endCursor": edges[-1]["cursor"] if edges else None,
            "hasNextPage": stop < len(nodes),
        },
        "totalCount": len(nodes),
    }
