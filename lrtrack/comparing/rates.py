"""Runs without learning rates, which no schedule can be found for."""

from __future__ import annotations

from collections.abc import Sequence

from lrtrack.errors import NothingFound
from lrtrack.records import History
from lrtrack.schedules.schedule import UNKNOWN
from lrtrack.stats import Notice
from lrtrack.stats.fairness import metrics_of
from lrtrack.stats.groups import fields_of

#: The most metrics that a message names.
_SHOWN = 20
_FIX = (
    "Fix: name the metric that is the learning rate with --lr-metric, or group runs by a setting "
    "with --group-by"
)


def with_rates(
    histories: Sequence[History], group_by: str | Sequence[str], experiment: str | None
) -> tuple[list[History], Notice | None]:
    """Leave out runs whose schedule is unknown, if runs are grouped by it alone.

    Returns:
        The other runs, and a warning about those that are left out.

    Raises:
        NothingFound: no run is left.
    """
    kept = [history for history in histories if history.run.schedule.name != UNKNOWN]
    lacking = [history for history in histories if history.run.schedule.name == UNKNOWN]
    by_schedule = all(field in ("schedule", "name") for field in fields_of(group_by))
    if not lacking or not by_schedule:
        return list(histories), None
    names = metrics_of(lacking)
    metrics = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    single = len(lacking) == 1
    own = f"{'Its' if single else 'Their'} metrics: {metrics}." if names else "No metric at all."
    if not kept:
        where = "" if experiment is None else f" in experiment {experiment!r}"
        count = "The run" if single else f"None of the {len(lacking)} runs"
        verb = "has no recorded" if single else "has a recorded"
        raise NothingFound(f"{count}{where} {verb} learning rate. {own} {_FIX}.")
    have, are = ("has", "is") if single else ("have", "are")
    return kept, Notice(
        "no-learning-rate",
        f"{len(lacking)} of {len(histories)} runs {have} no recorded learning rate and {are} left "
        f"out. {own} {_FIX}.",
    )
