"""The numbers that the page's script draws, as compact JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtrack.errors import clean
from lrtrack.reports.axes import title_of
from lrtrack.reports.curves import Bundle, Curves, Line, Panel
from lrtrack.reports.downsampling import extremes, highest, lowest, stretches
from lrtrack.reports.html.fragments import axis_key
from lrtrack.reports.html.metrics import Further
from lrtrack.reports.html.profile import profile, profile_over
from lrtrack.reports.palette import DASHES, Look
from lrtrack.reports.smoothing import averaged
from lrtrack.stats import STEP, ComparisonResult

#: Points of all lines together, in the panels that are shown at first and in the further ones, and
#: the fewest and most points of one line. A point takes about 11 bytes of the page.
_POINTS, _FURTHER, _LEAST, _MOST = 120_000, 70_000, 60, 800
#: The points that a schedule's mean takes, with its band and what smoothing needs, in lines.
_MEAN = 3
#: With more schedules than `CROWD`, only the best `SHOWN` are visible at first.
CROWD, SHOWN = 24, 12
_DIGITS = 5
#: The metrics that schedules move, alone or followed by a group.
_MOVED = frozenset({"lr", "lr_effective", "momentum", "weight_decay"})
#: Positions on a metric's axis are whole numbers of a unit, of which the longest curve has up to 10
#: to this power.
_RESOLUTION = 7

#: Numbers of one curve; None where there is no value.
Numbers = Sequence[float | None]


Positions = NDArray[np.int64] | NDArray[np.float64]


class Arrays:
    """The number arrays of the page, each stored once and referred to by its index."""

    def __init__(self) -> None:
        self.values: list[Numbers] = []
        self._indices: dict[tuple[float | None, ...], int] = {}

    def add(self, numbers: Numbers) -> int:
        """The index of `numbers`, which are stored if no equal array is."""
        index = self._indices.setdefault(tuple(numbers), len(self.values))
        if index == len(self.values):
            self.values.append(numbers)
        return index


def payload_of(
    comparison: ComparisonResult,
    curves: Curves,
    own: Curves | None,
    further: Further,
    looks: Sequence[Look],
    axis: str,
) -> str:
    """Everything that the script draws, as JSON that is safe inside a `<script>` element.

    Names of schedules and runs are not in it: the script reads them from the legend and from the
    table of runs.

    Args:
        curves: the curves over steps.
        own: those over the comparison's own axis, if it has one.
        further: the panels that are not shown at first.
        axis: the x axis to begin with.
    """
    layers = 1 if own is None else 2
    thin = _Thin.of(curves.panels, _POINTS // layers)
    thinner = _Thin.of(further.panels, _FURTHER // layers)
    on = len(looks) if len(looks) <= CROWD else SHOWN
    arrays = Arrays()
    data: dict[str, Any] = {
        "axis": axis_key(axis),
        "noun": comparison.noun,
        "axes": {key: title_of(key) for key in curves.rulers},
        "rulers": {key: _rulers(curves, key, arrays) for key in curves.rulers if key != STEP},
        "schedules": [
            {"colour": look.colour, "dash": DASHES[look.dash], "on": rank < on}
            for rank, look in enumerate(looks)
        ],
        "panels": [
            *(_panel(panel, thin, arrays) | {"on": True} for panel in curves.panels),
            *(item | {"on": True} for item in profile(comparison, curves)),
            *(_panel(panel, thinner, arrays) for panel in further.panels),
        ],
        "last": _last(curves.panels),
        "arrays": arrays.values,
    }
    if own is not None and own.x is not None:
        data["axes"] |= {axis_key(own.x): title_of(own.x)}
        data["over"] = _over(comparison, curves, own, further, (thin, thinner), arrays)
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    # Only "<" can begin what ends a script element or turns it into a comment.
    return text.replace("<", "\\u003c")


@dataclass(frozen=True)
class _Thin:
    """How far the lines of a panel are thinned.

    Attributes:
        most: the most points of a line.
        runs: whether there is room for single runs.
    """

    most: int
    runs: bool

    @classmethod
    def of(cls, panels: Sequence[Panel], points: int) -> _Thin:
        """What leaves about `points` points of all lines of `panels`."""
        bundles = [bundle for panel in panels for bundle in panel.bundles if bundle is not None]
        means = _MEAN * len(bundles)
        runs = sum(len(bundle.lines) for bundle in bundles if not bundle.flat)
        each = points // max(1, means + runs)
        if each >= _LEAST or runs == 0:
            return cls(min(_MOST, max(_LEAST, each)), runs=True)
        return cls(min(_MOST, max(_LEAST, points // means)), runs=False)


def _last(panels: Sequence[Panel]) -> float:
    """The last position of all lines, at least 1."""
    ends = [
        float(line.steps.max())
        for panel in panels for bundle in panel.bundles if bundle for line in bundle.lines
    ]  # fmt: skip
    return max(1.0, *ends) if ends else 1.0


def _over(
    comparison: ComparisonResult,
    curves: Curves,
    own: Curves,
    further: Further,
    thin: tuple[_Thin, _Thin],
    arrays: Arrays,
) -> dict[str, Any]:
    """The panels over the comparison's own axis: as many as over steps, in the same order."""
    assert own.x is not None
    ends = [
        float(np.abs(line.steps).max())
        for panel in own.panels for bundle in panel.bundles if bundle for line in bundle.lines
    ]  # fmt: skip
    power = math.floor(math.log10(max(ends))) if max(ends) > 0.0 else 0
    unit = max(10.0 ** (power + 1 - _RESOLUTION), 1e-300)
    panels = {panel.metric: _in_units(panel, unit) for panel in (*own.panels, *further.own)}
    nothing = [None] * len(comparison.schedules)

    def same(panel: Panel, thin: _Thin) -> dict[str, Any]:
        if panel.metric in panels:
            return _panel(panels[panel.metric], thin, arrays)
        return {"title": panel.title, "smooth": False, "series": nothing}

    return {
        "axis": axis_key(own.x),
        "unit": unit,
        "last": _last(list(panels.values())),
        "panels": [
            *(same(panel, thin[0]) for panel in curves.panels),
            *profile_over(comparison, own, own.x, unit),
            *(same(panel, thin[1]) for panel in further.panels),
        ],
    }


def _in_units(panel: Panel, unit: float) -> Panel:
    """A panel with positions in whole units instead of steps."""

    def whole(positions: Positions) -> NDArray[np.int64]:
        return np.rint(positions / unit).astype(np.int64)

    return replace(
        panel,
        bundles=tuple(
            bundle
            and replace(
                bundle,
                steps=whole(bundle.steps),
                lines=tuple(replace(line, steps=whole(line.steps)) for line in bundle.lines),
            )
            for bundle in panel.bundles
        ),
    )


def _rulers(curves: Curves, axis: str, arrays: Arrays) -> list[tuple[int, int]]:
    thin = [ruler.thinned() for ruler in curves.rulers[axis]]
    return [
        (arrays.add(_rounded(ruler.steps, 9)), arrays.add(_rounded(ruler.places, 7)))
        for ruler in thin
    ]


def _panel(panel: Panel, thin: _Thin, arrays: Arrays) -> dict[str, Any]:
    return {
        "title": clean(panel.title),
        # the jumps of what a schedule moves are the schedule, not noise
        "smooth": panel.metric.partition("/")[0] not in _MOVED,
        "series": [None if item is None else _series(item, thin, arrays) for item in panel.bundles],
    }


def _series(bundle: Bundle, thin: _Thin, arrays: Arrays) -> dict[str, Any]:
    most = thin.most
    series: dict[str, Any] = {"of": list(bundle.counted)}
    if bundle.steps.size:
        series |= _curve(bundle.steps, bundle.mean, most, arrays)
        wide = averaged(bundle, most // 2) if bundle.steps.size > most else None
        if wide is not None:
            series["sx"] = arrays.add(_deltas(wide.steps))
            series["sy"] = arrays.add(_rounded(wide.mean))
        if len(bundle.counted) > 1 and not bundle.flat:
            series["band"] = _band(bundle, wide, arrays)
    if not bundle.flat and (thin.runs or not bundle.counted):
        series["runs"] = [
            {"run": line.run, **_curve(line.steps, line.values, most, arrays)}
            for line in bundle.lines
        ]
    lost = [line for line in bundle.lines if line.run not in bundle.counted]
    series["ends"] = [end for line in lost if (end := _end(line)) is not None]
    return series


def _curve(
    steps: Positions, values: NDArray[np.float64], most: int, arrays: Arrays
) -> dict[str, int]:
    indices = extremes(values, most)
    return {"x": arrays.add(_deltas(steps[indices])), "y": arrays.add(_rounded(values[indices]))}


def _band(bundle: Bundle, wide: Bundle | None, arrays: Arrays) -> dict[str, int]:
    """The interval of the mean at each step, or where `wide` has its windows."""
    if wide is None:
        return {"low": arrays.add(_rounded(bundle.low)), "high": arrays.add(_rounded(bundle.high))}
    # the extremes are drawn without smoothing, the intervals of the windows' means with it
    starts = stretches(bundle.steps.size, wide.steps.size)
    return {
        "x": arrays.add(_deltas(wide.steps)),
        "low": arrays.add(_rounded(lowest(bundle.low, starts))),
        "high": arrays.add(_rounded(highest(bundle.high, starts))),
        "slow": arrays.add(_rounded(wide.low)),
        "shigh": arrays.add(_rounded(wide.high)),
    }


def _end(line: Line) -> dict[str, Any] | None:
    """The last finite point of a run that diverged; None if it has none."""
    bad = np.flatnonzero(~np.isfinite(line.values))
    if not bad.size or not bad[0]:
        return None
    return {
        "run": line.run,
        "step": int(line.steps[bad[0] - 1]),
        "value": _rounded(line.values[bad[0] - 1 : bad[0]])[0],
    }


def _deltas(steps: Positions) -> list[int]:
    """The first step, then the distance to each next one, which takes fewer digits."""
    return [int(step) for step in np.diff(steps, prepend=0)]


def _rounded(values: NDArray[np.float64], digits: int = _DIGITS) -> Numbers:
    return [
        float(f"{value:.{digits}g}") if finite else None
        for value, finite in zip(values.tolist(), np.isfinite(values).tolist(), strict=True)
    ]
