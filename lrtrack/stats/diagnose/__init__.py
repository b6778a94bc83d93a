"""What went other than its user thinks: twelve diagnoses, each with a code, evidence and a remedy.

limits.py     from where on something is told, and why there
evidence.py   what only the training process can know
figures.py    what the records come to, added up part by part
lengths.py    how long a schedule is
plateau.py    what a plateau schedule makes of its metric
stepping.py   LR001-LR003, LR005, LR012: how the scheduler was stepped
course.py     LR004, LR006-LR011: how the training went

A diagnosis is a mapping of texts: `"code"`, `"message"` (what, with the evidence), `"hint"` (what
to do), and `"prefix"` where the run's metrics have one. Runs of kind `FIND` are never diagnosed: a
range test does on purpose what would be a mistake elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable

from lrtrack.records import TRAIN, History, Run, State
from lrtrack.stats.diagnose import scheduler_rules, training_rules
from lrtrack.stats.diagnose.observations import Evidence
from lrtrack.stats.diagnose.rule import Case, Found
from lrtrack.stats.diagnose.running_statistics import Figures

__all__ = ["Evidence", "Figures", "Found", "diagnose", "diagnoses_of", "told_of"]


def diagnose(
    run: Run, figures: Figures, state: State, evidence: Evidence | None = None
) -> tuple[Found, ...]:
    """All that is to be told of a run, by code.

    Args:
        evidence: None where nobody was there to see; much is left open then.
    """
    if run.kind != TRAIN:
        return ()
    case = Case(run.schedule, figures, state is State.FINISHED, evidence)
    found = [
        each
        for rule in (*scheduler_rules.RULES, *training_rules.RULES)
        if (each := rule(case)) is not None
    ]
    if run.prefix:
        found = [{**each, "prefix": run.prefix} for each in found]
    return tuple(sorted(found, key=lambda each: each["code"]))


def diagnoses_of(history: History) -> tuple[Found, ...]:
    """What was told of a run at its end; of one that has no word of it, what its records tell."""
    run = history.run
    if run.kind != TRAIN:
        return ()
    if run.diagnoses is not None:
        return tuple(dict(each) for each in run.diagnoses)
    return diagnose(run, Figures.of(history), history.state)


def told_of(histories: Iterable[History]) -> tuple[Found, ...]:
    """The diagnoses of all runs, as a comparison has them: code, run_id, message, hint."""
    return tuple(
        {"code": each["code"], "run_id": history.id, "message": each["message"],
         "hint": each["hint"]}
        for history in histories
        for each in diagnoses_of(history)
    )  # fmt: skip
