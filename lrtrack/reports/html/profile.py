"""The panel of the runs that have reached the target, as the page's script draws it."""

from __future__ import annotations

from typing import Any

from lrtrack.reports import captions
from lrtrack.reports.curves import Curves
from lrtrack.stats import ComparisonResult
from lrtrack.stats.rulers import placement_of


def profile(comparison: ComparisonResult, curves: Curves) -> list[dict[str, Any]]:
    """The share of each schedule's runs that have reached the target, by step."""
    if comparison.target is None:
        return []
    series = []
    for runs in curves.members:
        hits = [(run, comparison.runs[run].target_step) for run in runs]
        last = max(int(comparison.histories[run].steps.max(initial=0)) for run in runs)
        reached = [[run, step] for run, step in hits if step is not None]
        series.append({"of": list(runs), "reached": reached, "last": last})
    title = captions.profile_title(comparison)
    return [{"title": title, "profile": True, "series": series}]


def profile_over(
    comparison: ComparisonResult, own: Curves, x: str, unit: float
) -> list[dict[str, Any]]:
    """The same by position on the comparison's own axis, of the runs that have positions there."""
    if comparison.target is None:
        return []
    series: list[dict[str, Any] | None] = []
    for runs in own.members:
        reached, ends = [], []
        for run in runs:
            ruler = placement_of(comparison.histories[run], x).ruler
            if ruler is None:
                continue
            summary = comparison.runs[run]
            ends.append(ruler.latest(summary.steps - 1))
            hit = ruler.passed(summary.target_step)
            if hit is not None:
                reached.append([run, round(hit / unit)])
        last = round(max(ends, default=0.0) / unit)
        known = {"of": [*range(len(ends))], "reached": reached, "last": last}
        series.append(known if ends else None)
    title = captions.profile_title(comparison)
    return [{"title": title, "profile": True, "series": series}]
