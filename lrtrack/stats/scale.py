"""The scale on which final values are compared: as they are, or their logarithms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lrtrack.stats.summary import Mode

#: `linear`: the values. `log`: their logarithms, so that differences are ratios. `log-distance` and
#: `log-percent`: the logarithms of their distances to 1 and to 100, for scores below that.
Scale = Literal["linear", "log", "log-distance", "log-percent"]

#: What the distances of a scale are to.
_BOUNDS: dict[Scale, float] = {"log-distance": 1.0, "log-percent": 100.0}

#: Half of the 95 % quantile of χ² with 1 degree of freedom: where a likelihood interval ends.
_CLEARLY = 1.92

Floats = NDArray[np.float64]


def scale_of(groups: Sequence[Floats], mode: Mode) -> Scale:
    """Choose the scale by the likelihood of Box and Cox, "An analysis of transformations" (1964).

    Losses above 0 may be compared by their logarithms, and scores between 0 and 1, or 0 and 100, by
    those of their distances to 1 or 100. That is done where the values of equally treated runs
    scatter as on the logarithmic scale, and the linear one lies outside the 95 % interval of the
    likelihood. Only the scatter within the groups decides, never which group is better.

    Args:
        groups: finite values, one array per schedule.
    """
    values = np.concatenate(groups) if len(groups) else np.empty(0)
    df = values.size - sum(group.size > 0 for group in groups)
    scale: Scale = "log"
    if mode == "max":
        scale = "log-distance" if values.size and values.max() <= 1.0 else "log-percent"
    if df < 1 or not on_scale(values, scale):
        return "linear"
    distances = [distance(group, scale) for group in groups]
    logs = [np.log(group) for group in distances]
    size = float(np.exp(np.concatenate(logs).mean()))
    # The rounding of the values hides smaller spreads, and a logarithm of 0 as well.
    linear = _within([group / size for group in distances]) + 1e-24
    gain = 0.5 * df * math.log(linear / (_within(logs) + 1e-24))
    return scale if gain > _CLEARLY else "linear"


def on_scale(values: Floats, scale: Scale) -> bool:
    """Whether all values have a logarithm on `scale`, that does not lose them to rounding."""
    if scale == "linear" or not values.size:
        return True
    if scale in _BOUNDS and values.min() < 0.0:
        return False
    sizes = distance(values, scale)
    return bool(sizes.min() > 1e-12 * max(_BOUNDS.get(scale, 0.0), float(sizes.max())))


def distance(values: Floats, scale: Scale) -> Floats:
    """What is positive on a logarithmic scale: the loss itself, or a score's distance to 1 or 100.

    Its own inverse.
    """
    return _BOUNDS[scale] - values if scale in _BOUNDS else values


def farthest(scale: Scale) -> float:
    """The largest `distance` that a value can have: that of the score 0."""
    return _BOUNDS.get(scale, math.inf)


def falls(scale: Scale) -> bool:
    """Whether larger values are smaller on `scale`."""
    return scale in _BOUNDS


def transformed(values: Floats, scale: Scale) -> Floats:
    """The values on `scale`."""
    return values if scale == "linear" else np.log(distance(values, scale))


def _within(groups: Sequence[Floats]) -> float:
    return float(sum(((group - group.mean()) ** 2).sum() for group in groups if group.size))
