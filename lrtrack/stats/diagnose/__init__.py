"""Diagnoses of a training: thirteen rules, each with a code, its evidence and a hint.

thresholds.py           when a finding is worth reporting, with the reasons
observations.py         facts that only the training process can observe
running_statistics.py   statistics of the records, updated batch by batch
schedule_length.py      how long a schedule is
plateau.py              a replay of ReduceLROnPlateau on its metric
rule.py                 the input and the result of a rule
scheduler_rules.py      LR001-LR003, LR005, LR012: how the scheduler was stepped
training_rules.py       LR004, LR006-LR011: how the training went
rate_jumps.py           LR030: the learning rate where a training was continued

A diagnosis is a mapping of texts: `"code"`, `"message"` (what happened, with numbers), `"hint"`
(how to fix it), and `"prefix"` if the run's metrics have one. Runs of kind `FIND` are never
diagnosed: a range test does on purpose what would be a mistake elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable

from lrtrack.records import TRAIN, History, Run, State
from lrtrack.stats.diagnose import rate_jumps, scheduler_rules, training_rules
from lrtrack.stats.diagnose.observations import Observations
from lrtrack.stats.diagnose.rule import Diagnosis, RunFacts
from lrtrack.stats.diagnose.running_statistics import RunningStatistics

__all__ = [
    "Diagnosis",
    "Observations",
    "RunningStatistics",
    "diagnose",
    "diagnoses_by_run",
    "diagnoses_of",
]


def diagnose(
    run: Run,
    statistics: RunningStatistics,
    state: State,
    observations: Observations | None = None,
) -> tuple[Diagnosis, ...]:
    """Apply all rules to a run.

    Args:
        observations: None if only the records are known; most scheduler rules need them.

    Returns:
        The diagnoses, sorted by code.
    """
    if run.kind != TRAIN:
        return ()
    facts = RunFacts(run.schedule, statistics, state is State.FINISHED, observations)
    rules = (*scheduler_rules.RULES, *training_rules.RULES, *rate_jumps.RULES)
    results = [rule(facts) for rule in rules]
    diagnoses = [diagnosis for diagnosis in results if diagnosis is not None]
    if run.prefix:
        diagnoses = [{**diagnosis, "prefix": run.prefix} for diagnosis in diagnoses]
    return tuple(sorted(diagnoses, key=lambda diagnosis: diagnosis["code"]))


def diagnoses_of(history: History) -> tuple[Diagnosis, ...]:
    """Return a run's stored diagnoses, or those that its records show if none were stored."""
    run = history.run
    if run.kind != TRAIN:
        return ()
    if run.diagnoses is not None:
        return tuple(dict(diagnosis) for diagnosis in run.diagnoses)
    return diagnose(run, RunningStatistics.of(history), history.state)


def diagnoses_by_run(histories: Iterable[History]) -> tuple[Diagnosis, ...]:
    """Return the diagnoses of all runs as comparison rows: code, run_id, message, hint."""
    return tuple(
        {"code": diagnosis["code"], "run_id": history.id, "message": diagnosis["message"],
         "hint": diagnosis["hint"]}
        for history in histories
        for diagnosis in diagnoses_of(history)
    )  # fmt: skip
