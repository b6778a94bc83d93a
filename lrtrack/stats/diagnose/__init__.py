"""Diagnoses of a training: rules, each with a code, its evidence and a hint.

thresholds.py           when a finding is worth reporting, with the reasons
observations.py         facts that only the training process can observe
running_statistics.py   statistics of the records, updated batch by batch
evidence.py             the part of them that LR014 to LR025 need
step_intervals.py       the times between steps
course.py               a metric over a whole run, in bounded memory
setup.py                what was set before the first step
schedule_length.py      how long a schedule is
group_rates.py          the learning rate of each param group
plateau.py              a replay of ReduceLROnPlateau on its metric
rule.py                 the input and the result of a rule
scheduler_rules.py      LR001-LR003, LR005, LR012, LR026: how the scheduler was stepped
training_rules.py       LR004, LR006-LR011: how the training went
forecasts.py            LR027, LR028, LR002 before the end: schedules that will not fit
nothing_seen.py         LR013: why a block saw no step
rate_rules.py           LR014-LR018: how schedule and learning rate fit together
gradient_rules.py       LR019, LR023, LR024: gradients
loss_rules.py           LR020-LR022: the loss
timing_rules.py         LR025: steps of very different length
rate_jumps.py           LR030: the learning rate where a training was continued
rate_source.py          LR031: a learning rate that the scheduler has not set

A diagnosis is a mapping of texts: `"code"`, `"message"` (what happened, with numbers), `"hint"`
(how to fix it), and `"prefix"` if the run's metrics have one. Runs of kind `FIND` are never
diagnosed: a range test does on purpose what would be a mistake elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lrtrack.records import TRAIN, History, Run, State
from lrtrack.schedules import Schedule, parts_of
from lrtrack.stats.diagnose import (
    forecasts,
    gradient_rules,
    loss_rules,
    nothing_seen,
    rate_jumps,
    rate_rules,
    rate_source,
    scheduler_rules,
    timing_rules,
    training_rules,
)
from lrtrack.stats.diagnose.observations import Observations, Unobserved
from lrtrack.stats.diagnose.rule import Diagnosis, RunFacts
from lrtrack.stats.diagnose.running_statistics import RunningStatistics, columns_of_part
from lrtrack.stats.diagnose.setup import setup_of

__all__ = [
    "Diagnosis",
    "Observations",
    "RunningStatistics",
    "Unobserved",
    "columns_of_part",
    "diagnose",
    "diagnoses_by_run",
    "diagnoses_of",
    "shown_in",
]


#: One optimizer of several: its schedule, its statistics, and its observations if they are known.
Part = tuple[Schedule, RunningStatistics, Observations | None]

#: Steps, columns and times of some records, as `RunningStatistics.add` takes them.
Records = tuple[Any, Any, Any]

#: A rule: a function of the facts about one run, which returns None where there is nothing to say.
Rule = Callable[[RunFacts], Diagnosis | None]

_OF_PART = (
    *scheduler_rules.RULES,
    *training_rules.OF_OPTIMIZER,
    *rate_rules.OF_OPTIMIZER,
    *forecasts.RULES,
    *rate_jumps.RULES,
    *rate_source.RULES,
)
_OF_TRAINING = (
    nothing_seen.nothing_seen,
    nothing_seen.no_longer_seen,
    *scheduler_rules.OF_TRAINING,
    *training_rules.OF_TRAINING,
    *gradient_rules.OF_TRAINING,
    *loss_rules.OF_TRAINING,
    *timing_rules.OF_TRAINING,
)
#: A diagnosis that says more precisely what another one says too.
_EXPLAINS = {"LR003": "LR028", "LR015": "LR031", "LR027": "LR002"}
#: Rules that need the whole training. All others report before its end only what later steps
#: cannot undo.
_AT_END = {
    *rate_rules.OF_OPTIMIZER,
    *gradient_rules.OF_TRAINING,
    *loss_rules.OF_TRAINING,
} - {*rate_rules.EARLY, *gradient_rules.EARLY, *loss_rules.EARLY}


def diagnose(
    run: Run,
    statistics: RunningStatistics,
    state: State,
    observations: Observations | None = None,
    parts: Mapping[str, Part] | None = None,
) -> tuple[Diagnosis, ...]:
    """Apply all rules to a run.

    Args:
        state: how the run ended; while it is `RUNNING`, only what is certain by then is returned.
        observations: None if only the records are known; most scheduler rules need them.
        parts: the optimizers by name, where there are several. Rules on a scheduler or an optimizer
            apply to each of them, and their messages begin with its name.

    Returns:
        The diagnoses, sorted by code.
    """
    if run.kind != TRAIN:
        return ()

    def facts(
        schedule: Schedule,
        figures: RunningStatistics,
        observed: Observations | None,
        name: str = "",
    ) -> RunFacts:
        return RunFacts(
            schedule,
            figures,
            state is State.FINISHED,
            observed,
            running=state is State.RUNNING,
            total_steps=run.total_steps,
            setup=setup_of(run, name, several=bool(parts)),
        )

    rules = _OF_TRAINING if parts else (*_OF_PART, *_OF_TRAINING)
    diagnoses = _apply(rules, facts(run.schedule, statistics, observations))
    stepped = observations is None or observations.steps > 0
    for name, (schedule, figures, observed) in (parts or {}).items() if stepped else ():
        own = facts(schedule, figures, observed, name)
        of_part = (*_OF_PART, nothing_seen.never_stepped, nothing_seen.replaced)
        for diagnosis in _apply(of_part, own):
            diagnoses.append({**diagnosis, "message": f"{name}: {diagnosis['message']}"})
    if run.prefix:
        diagnoses = [{**diagnosis, "prefix": run.prefix} for diagnosis in diagnoses]
    return tuple(sorted(diagnoses, key=lambda diagnosis: diagnosis["code"]))


def _apply(rules: Iterable[Rule], facts: RunFacts) -> list[Diagnosis]:
    """Apply rules to one optimizer, and leave out what another one of them explains."""
    diagnoses = [
        diagnosis
        for rule in rules
        if not (facts.running and rule in _AT_END) and (diagnosis := rule(facts)) is not None
    ]
    explained = {_EXPLAINS.get(diagnosis["code"]) for diagnosis in diagnoses}
    return [diagnosis for diagnosis in diagnoses if diagnosis["code"] not in explained]


def diagnoses_of(history: History) -> tuple[Diagnosis, ...]:
    """Return a run's stored diagnoses, or those that its records show if none were stored."""
    run = history.run
    if run.kind != TRAIN:
        return ()
    stored = tuple(dict(diagnosis) for diagnosis in run.diagnoses or ())
    is_final = run.outcome is not None or history.state is State.FINISHED
    if run.diagnoses is not None and is_final:
        return stored
    columns = {name: (values, history.present[name]) for name, values in history.metrics.items()}
    return shown_in(run, history.state, [(history.steps, columns, history.times)])


def shown_in(run: Run, state: State, records: Iterable[Records]) -> tuple[Diagnosis, ...]:
    """Return the diagnoses that a run's records show, besides those that are stored.

    What was reported while it ran is not all, if the run goes on or was killed.

    Args:
        state: how the run ended.
        records: all steps in their order, in one part or several: steps, shape (n,); metric name
            to values and which are present, shape (n,) each; times in seconds since the epoch,
            shape (n,).
    """
    if run.kind != TRAIN:
        return ()
    statistics = RunningStatistics(run.schedule, run.prefix)
    schedules = parts_of(run.schedule)
    figures = {name: RunningStatistics(schedule) for name, schedule in schedules.items()}
    has_parts = True
    for steps, columns, times in records:
        statistics.add(steps, columns, times)
        for name, figures_of_part in figures.items():
            own = columns_of_part(columns, run.prefix, name)
            has_parts = has_parts and "lr" in own
            if has_parts:
                figures_of_part.add(steps, own, times)
    parts = {name: (schedules[name], figures[name], None) for name in figures if has_parts}
    stored = tuple(dict(diagnosis) for diagnosis in run.diagnoses or ())
    codes = {diagnosis["code"] for diagnosis in stored}
    shown = diagnose(run, statistics, state, parts=parts)
    return (*stored, *(diagnosis for diagnosis in shown if diagnosis["code"] not in codes))


def diagnoses_by_run(histories: Iterable[History]) -> tuple[Diagnosis, ...]:
    """Return the diagnoses of all runs as comparison rows: code, run_id, message, hint.

    Also the prefix, if the run has one: blocks that share a run have the same id.
    """
    return tuple(
        {"code": diagnosis["code"], "run_id": history.id, "message": diagnosis["message"],
         "hint": diagnosis["hint"]}
        | ({"prefix": history.run.prefix} if history.run.prefix else {})
        for history in histories
        for diagnosis in diagnoses_of(history)
    )  # fmt: skip
