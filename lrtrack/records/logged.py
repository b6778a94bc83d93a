"""Runs that their programs logged without lrtrack: what they hold, and the `History` of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtrack.errors import UsageError
from lrtrack.fields import JSON
from lrtrack.records import roles
from lrtrack.records.alignment import Columns, Series, columns_of, sound
from lrtrack.records.history import Guesses, History
from lrtrack.records.run import Run, State
from lrtrack.schedules import Schedule
from lrtrack.schedules.schedule import UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lrtrack.schedules.inference.infer import InferredSchedule

#: The column of the learning rate in every history, which reports read.
RATE = "lr"
#: Inferred schedules that are remembered: the seeds of one schedule have the same curve.
_MOST_CURVES = 500

_curves: dict[tuple[bytes, bytes], Schedule] = {}


class OddRun(ValueError):
    """A run is malformed; the message says in what way."""


@dataclass(frozen=True)
class LoggedRun:
    """A run that a program logged without lrtrack, as a tracker returns it.

    Attributes:
        id: the tracker's own id.
        started: seconds since the epoch.
        ended: seconds since the epoch; None while the run is going, and where it is unknown.
        params: the run's settings, nested or not, with typed values where their types are known.
        device_type: such as `cuda`, as the tracker itself knows it; empty: what `params` say.
        metrics: metric name to its points, in any order.
    """

    id: str
    name: str
    tracker: str
    state: State
    metrics: Mapping[str, Series]
    experiment: str | None = None
    url: str | None = None
    started: float = 0.0
    ended: float | None = None
    group: str | None = None
    params: Mapping[str, JSON] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    device_type: str = ""
    device_name: str = ""


@dataclass(frozen=True)
class Interpretation:
    """A logged run as a history.

    Attributes:
        history: `history.guesses` says what was taken as the learning rate and as the seed.
        odd: the number of points that were left out, because their step or time is negative or
            larger than any real one.
    """

    history: History
    odd: int = 0


def interpret(logged: LoggedRun, asked: roles.Roles) -> Interpretation:
    """Make the history of a run that lrtrack did not record.

    The schedule is the one that the learning rates show, whatever the settings say: the name of
    a schedule among the settings may not be what happened. All metrics keep their names; the
    learning rate is also the metric `lr`. The steps are those at which any metric was logged.

    Args:
        logged: the run.
        asked: which metric is the learning rate and which field the seed, if the user says so.

    Raises:
        OddRun: the learning rates are none, such as negative numbers.
    """
    metrics, odd = sound(logged.metrics)
    rate = roles.rate_metric(metrics, asked.lr_metric)
    columns = columns_of(metrics, rate)
    schedule = Schedule(UNKNOWN)
    if rate is not None:
        schedule = _schedule_of(columns, rate)
        columns.metrics[RATE], columns.present[RATE] = columns.metrics[rate], columns.present[rate]
    return Interpretation(history_of(logged, schedule, vars(columns), rate, asked), odd)


def history_of(
    logged: LoggedRun,
    schedule: Schedule,
    arrays: Mapping[str, Any],
    rate: str | None,
    asked: roles.Roles,
) -> History:
    """The history of a logged run whose schedule and columns are known.

    Args:
        logged: the run; its metrics are not read.
        schedule: what the learning rates show.
        arrays: the arrays of a `History`, by its field names.
        rate: the metric that is the learning rate; None without one.
        asked: see `interpret`.
    """
    params = roles.flat(logged.params)
    seed_name, seed = roles.seed_of(params, logged.tags, asked.seed_field)
    device = logged.device_type or roles.device_of(params)
    run = Run(
        id=logged.id,
        name=logged.name or logged.id,
        schedule=schedule,
        experiment=logged.experiment,
        group=logged.group,
        seed=seed,
        config={name: value for name, value in params.items() if name != seed_name},
        tags=logged.tags,
        device_type=device,
        device_name=logged.device_name,
        started=logged.started,
    )
    return History(
        run,
        logged.state,
        logged.tracker,
        **arrays,
        url=logged.url,
        ended=logged.ended,
        remote_id=logged.id,
        guesses=Guesses(rate, seed_name),
    )


def _schedule_of(columns: Columns, rate: str) -> Schedule:
    """The schedule that the column `rate` shows; unknown if a single point is all there is.

    Raises:
        OddRun: the rates are none.
    """
    known = columns.present[rate] & np.isfinite(columns.metrics[rate])
    steps, rates = columns.steps[known], columns.metrics[rate][known]
    if not rates.size or (rates.size == 1 and columns.steps.size > 1):
        return Schedule(UNKNOWN)
    key = (steps.tobytes(), rates.tobytes())
    schedule = _curves.get(key)
    if schedule is None:
        if len(_curves) >= _MOST_CURVES:
            _curves.clear()
        schedule = _curves[key] = _inferred(steps, rates, rate)
    return schedule


def _inferred(steps: NDArray[np.int64], rates: NDArray[np.float64], name: str) -> Schedule:
    """The schedule of a curve whose steps count from 0 or, as in many loops, from 1."""
    from lrtrack.schedules.inference.infer import infer_schedule

    try:
        results = [infer_schedule(rates, steps)]
        if steps[0] > 0:
            results.append(infer_schedule(rates, steps - 1))
    except UsageError as error:
        raise OddRun(f"its metric {name!r} is no learning rate: {error}") from error
    return min(results, key=_complexity).schedule


def _complexity(inferred: InferredSchedule) -> tuple[int, float]:
    return len(inferred.spec), inferred.error
