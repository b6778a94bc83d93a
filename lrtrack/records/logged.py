"""Runs that their programs logged without lrtrack: what they hold, and the `History` of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtrack.errors import UsageError
from lrtrack.fields import JSON
from lrtrack.records import roles
from lrtrack.records.alignment import Columns, OddRun, Series, columns_of, sound
from lrtrack.records.history import Guesses, History, ServedPage
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
    metrics: Mapping[str, Series] = field(default_factory=dict)
    experiment: str | None = None
    url: str | None = None
    served: ServedPage | None = None
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

    The schedule is the one that the learning rates show, whatever the settings say: a schedule
    that is named among the settings may not be what happened. All metrics keep their names; the
    learning rate is also the metric `lr`. The steps are those at which any metric was logged.

    Args:
        logged: the run.
        asked: which metric is the learning rate and which field the seed, if the user says so.

    Raises:
        OddRun: the learning rates are none, such as negative numbers.
    """
    columns, odd = aligned(logged.metrics, asked)
    return Interpretation(history_of(logged, vars(columns), asked), odd)


def aligned(metrics: Mapping[str, Series], asked: roles.Roles) -> tuple[Columns, int]:
    """The metrics over common steps, and the number of points that were left out.

    Args:
        metrics: metric name to its points, in any order.
        asked: see `interpret`; the times at the steps of the learning rate are its own.
    """
    kept, odd = sound(metrics)
    return columns_of(kept, roles.rate_metric(kept, asked.lr_metric)), odd


def history_of(logged: LoggedRun, arrays: Mapping[str, Any], asked: roles.Roles) -> History:
    """The history of a logged run whose metrics are columns already.

    Args:
        logged: the run; its metrics are not read.
        arrays: the arrays of a `History`, by its field names.
        asked: see `interpret`.

    Raises:
        OddRun: the learning rates are none.
    """
    metrics, present = dict(arrays["metrics"]), dict(arrays["present"])
    rate = roles.rate_metric(metrics, asked.lr_metric)
    schedule = Schedule(UNKNOWN)
    if rate is not None:
        schedule = _schedule_of(arrays["steps"], metrics[rate], present[rate], rate)
        metrics[RATE], present[RATE] = metrics[rate], present[rate]
    run, seed = run_of(logged, schedule, asked)
    return History(
        run,
        logged.state,
        logged.tracker,
        **{**arrays, "metrics": metrics, "present": present},
        url=logged.url,
        ended=logged.ended,
        remote_id=logged.id,
        guesses=Guesses(rate, seed),
        served=logged.served,
    )


def run_of(logged: LoggedRun, schedule: Schedule, asked: roles.Roles) -> tuple[Run, str | None]:
    """The identity of a logged run, and the name of the setting that was taken as its seed."""
    params = roles.flat(logged.params)
    seed_name, seed = roles.seed_of(params, logged.tags, asked.seed_field)
    run = Run(
        id=logged.id,
        name=logged.name or logged.id,
        schedule=schedule,
        experiment=logged.experiment,
        group=logged.group,
        seed=seed,
        config={name: value for name, value in params.items() if name != seed_name},
        tags=logged.tags,
        device_type=logged.device_type or roles.device_of(params),
        device_name=logged.device_name,
        started=logged.started,
    )
    return run, seed_name


def _schedule_of(
    steps: NDArray[np.int64],
    rates: NDArray[np.float64],
    present: NDArray[np.bool_],
    name: str,
) -> Schedule:
    """The schedule that a column shows; unknown if a single point of many steps is all there is.

    Raises:
        OddRun: the rates are none.
    """
    known = present & np.isfinite(rates)
    own_steps, own_rates = steps[known], rates[known]
    if not own_rates.size or (own_rates.size == 1 and steps.size > 1):
        return Schedule(UNKNOWN)
    key = (own_steps.tobytes(), own_rates.tobytes())
    schedule = _curves.get(key)
    if schedule is None:
        if len(_curves) >= _MOST_CURVES:
            _curves.clear()
        schedule = _curves[key] = _inferred(own_steps, own_rates, name)
    return schedule


def _inferred(steps: NDArray[np.int64], rates: NDArray[np.float64], name: str) -> Schedule:
    """The schedule of a curve whose steps count from 0 or, as in many loops, from 1."""
    from lrtrack.schedules.inference.infer import infer_schedule
    from lrtrack.schedules.inference.sparse import warmed

    results: list[InferredSchedule] = []
    warmups: list[InferredSchedule] = []
    try:
        for counted in (steps, steps - 1) if steps[0] > 0 else (steps,):
            found = infer_schedule(rates, counted)
            results.append(found)
            warmups += warmed(found, counted.astype(np.float64), rates)
    except UsageError as error:
        raise OddRun(f"its metric {name!r} is no learning rate: {error}") from error
    # A warm-up from 0 is by far the usual one, and needs to fit as well as anything else.
    return min(warmups or results, key=_complexity).schedule


def _complexity(inferred: InferredSchedule) -> tuple[bool, int, float]:
    """Straight lines explain any curve, so they are the last explanation."""
    return "piecewise(" in inferred.spec, len(inferred.spec), inferred.error
