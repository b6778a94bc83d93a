"""What makes a comparison less fair, or less telling, than it looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lrtrack.records import History, State
from lrtrack.schedules import text_of
from lrtrack.stats.groups import Group, fields_with_values
from lrtrack.stats.result import Notice
from lrtrack.stats.significance import LEVEL, Sample, fewest_p, paired, smallest_p
from lrtrack.stats.summary import RunSummary

_SHOWN = 5


def notices(
    groups: Sequence[Group],
    summaries: Sequence[Sequence[RunSummary]],
    samples: Sequence[Sample],
    reference: int,
    metric: str,
) -> tuple[Notice, ...]:
    """All that should be said about comparing `groups` by `metric`.

    Args:
        summaries: one sequence a group, in the order of its histories.
        samples: one a group: what is tested.
        reference: index of the group that the others are tested against.
    """
    histories = [history for group in groups for history in group.histories]
    found = (
        *_budgets(histories, [run for runs in summaries for run in runs]),
        *_devices(histories),
        *_configs(groups),
        *_missing(histories, [run for runs in summaries for run in runs], metric),
        *_few_runs(samples, reference),
    )
    return tuple(found)


def metrics_of(histories: Sequence[History]) -> list[str]:
    """Names of all metrics that any run recorded, without the run's prefix."""
    return sorted(
        {
            name.removeprefix(history.run.prefix)
            for history in histories
            for name, present in history.present.items()
            if present.any()
        }
    )


def _budgets(histories: Sequence[History], runs: Sequence[RunSummary]) -> Iterator[Notice]:
    steps = {
        run.steps
        for history, run in zip(histories, runs, strict=True)
        if history.state is State.FINISHED
    }
    if len(steps) > 1:
        yield Notice(
            "budget-differs",
            f"Finished runs have between {min(steps)} and {max(steps)} optimizer steps: a longer "
            "run can be better for that alone.",
        )


def _devices(histories: Sequence[History]) -> Iterator[Notice]:
    devices = {item.run.device_name or item.run.device_type for item in histories}
    if len(devices) > 1:
        yield Notice(
            "mixed-devices",
            f"Runs used different devices ({_listed(devices)}): their times and steps per second "
            "do not compare.",
        )


def _configs(groups: Sequence[Group]) -> Iterator[Notice]:
    """Name each setting in which runs that are averaged together differ."""
    values: dict[str, set[str]] = {}
    for group in groups:
        fields = [_settings(history) for history in group.histories]
        for name in dict.fromkeys(name for field in fields for name in field):
            inner = {field.get(name, "none") for field in fields}
            if len(inner) > 1:
                values.setdefault(name, set()).update(inner)
    for name, seen in sorted(values.items()):
        together = ",".join((*groups[0].fields, name))
        yield Notice(
            "config-differs",
            f"Runs that are averaged together differ in {name} ({_listed(seen)}): "
            f"use --group-by {together} to keep them apart.",
        )


def _settings(history: History) -> dict[str, str]:
    """A run's settings other than its seed and its schedule, the innermost of nested ones."""
    return {
        name: text_of(value)
        for name, value in fields_with_values(history).items()
        if name.startswith(("optimizer.", "config."))
        and name != "config.seed"
        and not isinstance(value, Mapping)
    }


def _missing(
    histories: Sequence[History], runs: Sequence[RunSummary], metric: str
) -> Iterator[Notice]:
    lacking = [history for history, run in zip(histories, runs, strict=True) if not run.recorded]
    if lacking:
        there = metrics_of(lacking)
        yield Notice(
            "metric-missing",
            f"{len(lacking)} of {len(histories)} runs have no {metric}; they have "
            f"{', '.join(there) if there else 'no metrics at all'}.",
        )


def _few_runs(samples: Sequence[Sample], reference: int) -> Iterator[Notice]:
    others = [sample for index, sample in enumerate(samples) if index != reference]
    if not others:
        return
    base = samples[reference]
    tests = sum(smallest_p(base, other) < 1.0 for other in others) or len(others)
    if tests * min(smallest_p(base, other) for other in others) < LEVEL:
        return
    matched = all(paired(base, other) for other in others)
    needed = next(n for n in range(2, 64) if tests * fewest_p(n, n, matched=matched) < LEVEL)
    how = "paired by seed" if matched else "unpaired"
    yield Notice(
        "too-few-runs",
        f"So few runs can show no difference at p < {LEVEL} ({how}, Holm-corrected for "
        f"{tests} comparison{'s' * (tests > 1)}): that takes at least {needed} runs a schedule.",
    )


def _listed(values: set[str]) -> str:
    """A few of `values`, numbers in their own order."""
    ordered = sorted(values, key=_natural)
    more = f", … {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return ", ".join(ordered[:_SHOWN]) + more


def _natural(text: str) -> tuple[bool, float, str]:
    try:
        return False, float(text), text
    except ValueError:
        return True, 0.0, text
