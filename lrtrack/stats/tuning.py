"""Compares each schedule at its own best value of a setting, such as the learning rate.

At one common rate, the schedule that this rate happens to suit wins. Here every schedule gets the
value at which it ends best. The runs that choose the value do not count in the comparison, where
there are seeds enough for both: the best of several values is better on the runs that chose it than
on new ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lrtrack.fields import JSON, names_of, resolve, text_of, unknown_field
from lrtrack.records import History
from lrtrack.schedules import Schedule
from lrtrack.stats.figures import Notice, Trial, Tuning
from lrtrack.stats.groups import Group, grouped, noun_of
from lrtrack.stats.ranking import Entry, entry_of, ranked
from lrtrack.stats.summary import Mode

#: Fields that are the peak of the learning rate, and schedules' parameters that set it themselves.
PEAK = "lr_peak"
_RATES = ("optimizer.lr", PEAK)
_RATE_PARAMS = ("max_lr", "base_lr")
#: With fewer seeds of a value, the runs that choose it are also those that are compared.
FEWEST_TO_SPLIT = 4


@dataclass(frozen=True)
class Tuned:
    """Groups of runs at the best value of each, with how that was found, by the group's label."""

    groups: tuple[Group, ...]
    tunings: Mapping[str, Tuning]
    notices: tuple[Notice, ...]


def tuned(
    histories: Iterable[History],
    fields: Sequence[str],
    tune: str,
    metric: str,
    mode: Mode,
    *,
    include_unfinished: bool = False,
) -> Tuned:
    """Group `histories` by `fields`, each group at its own best value of `tune`.

    If `tune` is `optimizer.lr` or `lr_peak`, the values are peaks of the learning rate: where a
    schedule sets its own (`max_lr`), that one. Such parameters, and `scheduler.…` that are tuned,
    do not tell schedules apart.

    Raises:
        UsageError: no run has one of the fields, or `tune`.
    """
    originals = list(histories)
    field = _field(originals, tune)
    stripped = [
        replace(item, run=replace(item.run, schedule=untuned(item.run.schedule, field)))
        for item in originals
    ]
    sources = {id(copy): item for copy, item in zip(stripped, originals, strict=True)}
    groups, tunings = [], {}
    for group in grouped(stripped, fields):
        runs = [sources[id(copy)] for copy in group.histories]
        best, tuning = _best(group, runs, field, metric, mode, include_unfinished)
        groups.append(best)
        tunings[best.label] = tuning
    return Tuned(tuple(groups), tunings, tuple(_notices(field, tunings, noun_of(fields))))


def expected_best(values: Sequence[float], mode: Mode) -> tuple[float, ...]:
    """The expected best of k values drawn with replacement, for k from 1 to their number.

    Dodge et al., "Show your work: improved reporting of experimental results" (2019): what a search
    of k trials would have found, so that unequal budgets can be compared.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if mode == "min":
        ordered = ordered[::-1]
    size = ordered.size
    shares = np.arange(size + 1) / size if size else np.zeros(1)
    return tuple(float(ordered @ np.diff(shares**k)) for k in range(1, size + 1))


def _field(histories: Sequence[History], tune: str) -> str:
    if tune == PEAK:
        return tune
    known = names_of([history.fields() for history in histories])
    field = resolve(tune, known)
    if field is None:
        raise unknown_field("tune", tune, {*known, PEAK})
    return field


def untuned(schedule: Schedule, field: str) -> Schedule:
    """The schedule without the parameters that are tuned, as it is named in the report."""
    names: tuple[str, ...] = _RATE_PARAMS if field in _RATES else ()
    if field.startswith("scheduler."):
        names = (field.rpartition(".")[2],)
    params = {key: _without(value, names) for key, value in schedule.params.items()}
    return Schedule(
        schedule.name,
        {key: value for key, value in params.items() if key not in names},
        schedule.source,
    )


def _without(value: JSON, names: Sequence[str]) -> JSON:
    if isinstance(value, Mapping):
        return {key: _without(item, names) for key, item in value.items() if key not in names}
    if isinstance(value, list | tuple):
        return [_without(item, names) for item in value]
    return value


def _value(history: History, field: str) -> JSON:
    """The run's value of the field; None without one."""
    fields = history.fields()
    if field not in _RATES:
        return fields.get(field)
    own = [v for name, v in fields.items() if name.startswith("scheduler.") and
           name.rpartition(".")[2] == "max_lr" and isinstance(v, int | float)]  # fmt: skip
    if field == "optimizer.lr" and own:
        return max(own)
    if field == "optimizer.lr" and fields.get(field) is not None:
        return fields[field]
    rates = history.series("lr")[1]
    rates = rates[np.isfinite(rates)]
    return float(f"{rates.max():.3g}") if rates.size else None


def _best(
    group: Group,
    runs: Sequence[History],
    field: str,
    metric: str,
    mode: Mode,
    include_unfinished: bool,
) -> tuple[Group, Tuning]:
    """The group's runs at its best value."""
    values: dict[str, list[History]] = {}
    plain: dict[str, JSON] = {}
    for run in runs:
        value = _value(run, field)
        values.setdefault(text_of(value), []).append(run)
        plain[text_of(value)] = value
    choosing = _choosing(values.values())

    def entry(name: str, histories: Iterable[History]) -> Entry:
        chosen = Group(group.fields, name, tuple(histories))
        return entry_of(chosen, metric, mode, None, include_unfinished=include_unfinished)

    candidates = [
        entry(name, [run for run in of if not choosing or run.run.seed in choosing])
        for name, of in values.items()
    ]
    best = ranked(candidates, mode)[0][1].group.label
    every = [entry(name, of) for name, of in values.items()]
    trials = sorted(
        (Trial(plain[e.group.label], len(e.runs), e.diverged, e.final.mean) for e in every),
        key=lambda trial: _order(trial.value),
    )
    kept = [run for run in values[best] if run.run.seed not in choosing]
    label = f"{group.label}, {field}={best}"
    return Group((*group.fields, field), label, tuple(kept)), Tuning(
        field=field,
        value=plain[best],
        tried=tuple(trials),
        chosen_on=tuple(sorted(choosing)),
        optimistic=len(values) > 1 and not choosing,
        expected_best=expected_best([t.mean for t in trials if t.mean is not None], mode),
    )


def _choosing(values: Iterable[Sequence[History]]) -> set[int]:
    """The seeds that choose the value: every other one, if each value has seeds enough; else {}."""
    seeds = [{run.run.seed for run in runs} for runs in values]
    if len(seeds) < 2 or any(None in own or len(own) < FEWEST_TO_SPLIT for own in seeds):
        return set()
    shared = sorted(seed for seed in set.union(*seeds) if seed is not None)
    choosing = set(shared[::2])
    if any(not own & choosing or not own - choosing for own in seeds):
        return set()
    return choosing


def _order(value: JSON) -> tuple[bool, float, str]:
    number = isinstance(value, int | float) and math.isfinite(value)
    return not number, float(value) if number else 0.0, text_of(value)


def _notices(field: str, tunings: Mapping[str, Tuning], noun: str) -> Iterator[Notice]:
    counts = {len(tuning.tried) for tuning in tunings.values()}
    if len(counts) > 1:
        yield Notice(
            "tuned-unequally",
            f"{noun.capitalize()}s were tuned over between {min(counts)} and {max(counts)} values "
            f"of {field}: more values alone make the best one better. Compare expected_best at "
            "equal numbers.",
        )
    if any(tuning.optimistic for tuning in tunings.values()):
        yield Notice(
            "tuned-on-the-same-runs",
            f"The best {field} was chosen on the runs that are compared, so it looks "
            f"better than it is: with fewer than {FEWEST_TO_SPLIT} seeds of each value, no runs "
            f"are left to check it. Fix: run every value with at least {FEWEST_TO_SPLIT} seeds.",
        )
