"""The points that MLflow has already, so that a repeated delivery stores none of them twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from lrtrack.records import Rewind
from lrtrack.trackers.mlflow.step_points import is_abandoned, surviving

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: Metric, value, time in milliseconds since the epoch, step.
Point = tuple[str, float, int, int]


class StoredPoints:
    """What one run has in MLflow, fetched metric by metric when it is needed.

    Args:
        continued: whether the run has points of another journal, which stay as they are.
    """

    def __init__(self, continued: bool) -> None:
        self._continued = continued
        #: Metric → step → (time, value).
        self._points: dict[str, dict[int, set[tuple[int, str]]]] = {}
        #: Metric → steps before this part of the run.
        self._earlier: dict[str, set[int]] = {}

    def clear(self) -> None:
        """Forget everything: it may have changed."""
        self._points.clear()

    def add(self, points: Iterable[Point]) -> None:
        """Note points that were stored now."""
        for name, value, when, step in points:
            self._points[name].setdefault(step, set()).add((when, _exact(value)))

    def rewind(self, step: int) -> None:
        """Let the steps from `step` on be written again."""
        for name, steps in self._earlier.items():
            self._earlier[name] = {earlier for earlier in steps if earlier < step}

    def missing(
        self, mlflow: MlflowClient, run_id: str, points: Sequence[Point], rewinds: Sequence[Rewind]
    ) -> list[Point]:
        """The points that MLflow lacks; steps from before a continuation are not written again.

        Args:
            mlflow: a client of the store.
            run_id: MLflow's run id.
            points: those that may be stored already.
            rewinds: the run's returns to earlier steps so far.
        """
        for name in {point[0] for point in points} - self._points.keys():
            history = mlflow.get_metric_history(run_id, name)
            stored: dict[int, set[tuple[int, str]]] = {}
            for metric in history:
                stored.setdefault(metric.step, set()).add((metric.timestamp, _exact(metric.value)))
            self._points[name] = stored
            if self._continued:
                kept = surviving(history, rewinds)
                self._earlier.setdefault(name, {metric.step for metric in kept})
        later = [p for p in points if p[3] not in self._earlier.get(p[0], ())]
        return [p for p in later if not self._has(p, rewinds)]

    def _has(self, point: Point, rewinds: Sequence[Rewind]) -> bool:
        """Whether MLflow has this very point, or its value is the one that counts at its step."""
        name, value, when, step = point
        stored = self._points[name].get(step, set())
        latest = max(
            (moment for moment, _ in stored if not is_abandoned(rewinds, step, moment)),
            default=None,
        )
        return (when, _exact(value)) in stored or (latest, _exact(value)) in stored


def _exact(value: float) -> str:
    # As text, NaN equals NaN. MLflow's SQL store keeps infinities as the largest float64.
    return repr(max(-1.7976931348623157e308, min(1.7976931348623157e308, float(value))))
