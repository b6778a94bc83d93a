"""The numbers that the page's script draws, as compact JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtrack.errors import clean
from lrtrack.reports.axes import STEP
from lrtrack.reports.curves import AXES, Bundle, Curves, Line, Panel
from lrtrack.reports.downsampling import extremes, highest, lowest, means, stretches
from lrtrack.reports.formatting import number
from lrtrack.reports.palette import DASHES, Look
from lrtrack.stats import ComparisonResult

#: Points that all runs of a panel have together, and what one line has at least and at most:
#: under a hundred thousand points in all a browser answers at once.
_POINTS, _LEAST, _MOST = 40_000, 100, 800
#: From so many schedules on, only the best few are switched on at first.
CROWD, SHOWN = 24, 12
_DIGITS = 5

Numbers = list[float | None]


def payload_of(
    comparison: ComparisonResult,
    curves: Curves,
    names: Sequence[str],
    looks: Sequence[Look],
    axis: str,
) -> str:
    """All that is drawn, as JSON that is safe inside a `<script>` element.

    Args:
        names: what each schedule is called.
        axis: the x axis to begin with.
    """
    most = max(_LEAST, min(_MOST, _POINTS // max(1, len(comparison.histories))))
    on = len(names) if len(names) <= CROWD else SHOWN
    data = {
        "axis": axis,
        "axes": {key: AXES[key] for key in curves.rulers},
        "rulers": {key: _rulers(curves, key) for key in curves.rulers if key != STEP},
        "runs": [clean(history.run.name) or history.id for history in comparison.histories],
        "schedules": [
            {"name": name, "colour": look.colour, "dash": DASHES[look.dash], "on": rank < on}
            for rank, (name, look) in enumerate(zip(names, looks, strict=True))
        ],
        "panels": [
            *(_panel(panel, most) for panel in curves.panels),
            *_profile(comparison, curves),
        ],
    }
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    # the only thing that ends a script element, or turns it into a comment, begins with this
    return text.replace("<", "\\u003c")


def _rulers(curves: Curves, axis: str) -> list[tuple[Numbers, Numbers]]:
    thin = [ruler.thinned() for ruler in curves.rulers[axis]]
    return [(_rounded(ruler.steps, 9), _rounded(ruler.places, 7)) for ruler in thin]


def _panel(panel: Panel, most: int) -> dict[str, Any]:
    return {
        "title": panel.title,
        "smooth": panel.metric != "lr",  # the steps of a schedule are no noise
        "log": panel.wide,
        "series": [None if item is None else _series(item, most) for item in panel.bundles],
    }


def _series(bundle: Bundle, most: int) -> dict[str, Any]:
    found: dict[str, Any] = {"of": list(bundle.counted)}
    if bundle.steps.size:
        found |= _curve(bundle.steps, bundle.mean, most)
        if bundle.steps.size > most:
            starts = stretches(bundle.steps.size, most // 2)
            found["sx"] = _deltas(_middles(bundle.steps, starts))
            found["sy"] = _rounded(means(bundle.mean, starts))
        if len(bundle.counted) > 1 and not bundle.flat:
            found["band"] = _band(bundle, most)
    if not bundle.flat:
        found["runs"] = [
            {"run": line.run, **_curve(line.steps, line.values, most)} for line in bundle.lines
        ]
    lost = [line for line in bundle.lines if line.run not in bundle.counted]
    found["ends"] = [end for line in lost if (end := _end(line)) is not None]
    return found


def _curve(steps: NDArray[np.int64], values: NDArray[np.float64], most: int) -> dict[str, Any]:
    kept = extremes(values, most)
    return {"x": _deltas(steps[kept]), "y": _rounded(values[kept])}


def _band(bundle: Bundle, most: int) -> dict[str, Any]:
    if bundle.steps.size <= most:
        return {"low": _rounded(bundle.low), "high": _rounded(bundle.high)}
    # extremes as they are, and means for smoothing
    starts = stretches(bundle.steps.size, most // 2)
    return {
        "x": _deltas(_middles(bundle.steps, starts)),
        "low": _rounded(lowest(bundle.low, starts)),
        "high": _rounded(highest(bundle.high, starts)),
        "slow": _rounded(means(bundle.low, starts)),
        "shigh": _rounded(means(bundle.high, starts)),
    }


def _middles(steps: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    ends = np.append(starts[1:], steps.size)
    return np.asarray(steps[(starts + ends - 1) // 2])


def _end(line: Line) -> dict[str, Any] | None:
    """Where the values of a run that diverged stop being finite: its last good point."""
    bad = np.flatnonzero(~np.isfinite(line.values))
    if not bad.size or not bad[0]:
        return None
    return {
        "run": line.run,
        "x": int(line.steps[bad[0] - 1]),
        "y": _rounded(line.values[bad[0] - 1 : bad[0]])[0],
    }


def _profile(comparison: ComparisonResult, curves: Curves) -> list[dict[str, Any]]:
    """Share of each schedule's runs that have reached the target, by step."""
    if comparison.target is None:
        return []
    series = []
    for runs in curves.members:
        hits = [(run, comparison.runs[run].target_step) for run in runs]
        last = max(int(comparison.histories[run].steps.max(initial=0)) for run in runs)
        reached = [[run, step] for run, step in hits if step is not None]
        series.append({"of": list(runs), "reached": reached, "last": last})
    sign = "≤" if comparison.mode == "min" else "≥"
    goal = f"{sign} {number(comparison.target, trim=True)}"
    title = f"share of runs that reached {clean(comparison.metric)} {goal}"
    return [{"title": title, "profile": True, "log": False, "series": series}]


def _deltas(steps: NDArray[np.int64]) -> list[int]:
    """The first step and then how far on each next one is: fewer digits."""
    return [int(step) for step in np.diff(steps, prepend=0)]


def _rounded(values: NDArray[np.float64], digits: int = _DIGITS) -> Numbers:
    return [
        float(f"{value:.{digits}g}") if known else None
        for value, known in zip(values.tolist(), np.isfinite(values).tolist(), strict=True)
    ]
