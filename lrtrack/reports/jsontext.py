"""Comparisons and lists of runs as strict JSON, in ASCII."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lrtrack.fields import JSON
from lrtrack.reports.runs import RunRow
from lrtrack.stats import ComparisonResult


def render(comparison: ComparisonResult) -> str:
    """The content of `ComparisonResult.to_dict`."""
    return _text(comparison.to_dict())


def render_runs(rows: Sequence[RunRow], experiment: str | None, metric: str) -> str:
    """The runs under `"runs"`, next to the experiment and the metric."""
    listed = [row.to_dict() for row in rows]
    return _text({"format": 1, "experiment": experiment, "metric": metric, "runs": listed})


def _text(data: JSON) -> str:
    # ASCII: text from trackers may contain control sequences, or characters that cannot be encoded.
    return json.dumps(data, indent=2, ensure_ascii=True, allow_nan=False) + "\n"
