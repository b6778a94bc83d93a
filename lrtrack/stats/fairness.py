"""Warnings about what makes a comparison less fair than it looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lrtrack.records import History, State, one_by_one
from lrtrack.stats.duplicates import duplicates
from lrtrack.stats.figures import Notice
from lrtrack.stats.groups import Group
from lrtrack.stats.setup_diff import devices_of, listed, mixed, unlike
from lrtrack.stats.summary import RunSummary


def notices(
    groups: Sequence[Group],
    summaries: Sequence[Sequence[RunSummary]],
    metric: str,
) -> tuple[Notice, ...]:
    """Collect everything that makes a comparison of `groups` by `metric` less fair.

    Args:
        summaries: the summaries of each group's runs, in the order of its histories.
    """
    histories = [history for group in groups for history in group.histories]
    warnings = (
        *_budgets(histories, [run for runs in summaries for run in runs]),
        *_devices(histories),
        *mixed(groups),
        *unlike(groups),
        *duplicates(groups, metric),
        *_missing(histories, [run for runs in summaries for run in runs], metric),
    )
    return tuple(warnings)


def metrics_of(histories: Sequence[History]) -> list[str]:
    """Names of all metrics that any run recorded, without the run's prefix."""
    return sorted(
        {
            name.removeprefix(history.run.prefix)
            for history in one_by_one(histories)
            for name, present in history.present.items()
            if present.any()
        }
    )


def _budgets(histories: Sequence[History], runs: Sequence[RunSummary]) -> Iterator[Notice]:
    steps = {
        run.steps
        for history, run in zip(histories, runs, strict=True)
        if history.state is State.FINISHED and not run.diverged
    }
    if len(steps) > 1:
        yield Notice(
            "budget-differs",
            f"Finished runs have between {min(steps):,} and {max(steps):,} optimizer steps: a "
            "longer run can be better just because it trained longer.",
        )


def _devices(histories: Sequence[History]) -> Iterator[Notice]:
    devices = devices_of(histories)
    if len(devices) > 1:
        yield Notice(
            "mixed-devices",
            f"Runs used different devices ({listed(devices)}): their times and steps per second "
            "are not comparable.",
        )


def _missing(
    histories: Sequence[History], runs: Sequence[RunSummary], metric: str
) -> Iterator[Notice]:
    lacking = [history for history, run in zip(histories, runs, strict=True) if not run.recorded]
    if lacking:
        recorded = metrics_of(lacking)
        yield Notice(
            "metric-missing",
            f"{len(lacking)} of {len(histories)} runs have no {metric}; they have "
            f"{', '.join(recorded) if recorded else 'no metrics at all'}.",
        )
