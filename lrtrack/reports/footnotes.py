"""The notes below a table: flaws of single schedules, and how the numbers were computed."""

from __future__ import annotations

from collections.abc import Sequence

from lrtrack.reports.formatting import count, number
from lrtrack.stats import LEVEL, ComparisonResult, RunSummary, Tuning

_MOST_FLAWS = 6
FINAL = "final: mean of a run's last 5 % of records, ± standard deviation over runs."
REACH = (
    "first reached by a trailing mean over 1 % of the records, ± half the distance of records "
    "where they are more than a step apart; Kaplan-Meier median over runs, "
    "(1/3): 1 of 3 reached it."
)
IQM = "IQM: interquartile mean, of the middle half of the runs; from 4 runs on."
TASKS = (
    "mean rank: over tasks, with a 95 % interval (bootstrap, stratified by task); then the score "
    "on each task, the mean of final."
)
TASK_IQM = (
    "IQM: interquartile mean of the scores of all runs, with a 95 % interval; divergence counts as "
    "the worst score."
)
GAP = (
    "optimality gap: by how much runs miss the score 1 on average, where better ones count as 1; "
    "none if a run diverged."
)
MIXED = "†: measured on different devices, so times are not comparable."


def final(comparison: ComparisonResult) -> str:
    """The note on final values."""
    if comparison.task is None:
        return FINAL
    return (
        "final: mean of a run's last 5 % of records, relative to the best "
        f"{comparison.noun}'s mean on its task, which is 1; ± standard deviation over runs."
    )


def seeds(comparison: ComparisonResult) -> str:
    """The note on how many seeds, or runs over several tasks, would show a difference."""
    unit, where = ("seeds", "") if comparison.task is None else ("runs", ", over all tasks,")
    return (
        f"{unit} to tell: how many {unit} of each {comparison.noun}{where} would show its "
        "difference in 8 of 10 cases."
    )


def target_score(comparison: ComparisonResult) -> str:
    """The note on the scores of targets over several tasks."""
    return (
        f"target score: how soon the target is reached, from 1 (the fastest {comparison.noun} on "
        "every task) to 0 (never, or after 4 times the steps of the fastest), averaged over "
        "tasks; (2/3): reached on 2 of 3."
    )


def flaws(comparison: ComparisonResult, names: Sequence[str]) -> list[str]:
    """Notes on schedules with diverged or unfinished runs."""
    notes = []
    for name, item, runs in zip(
        names, comparison.schedules, comparison.by_schedule(), strict=True
    ):  # fmt: skip
        of = f"of {count(item.runs, 'run')}"
        if item.diverged:
            subject = "it is" if item.diverged == 1 else "they are"
            excluded = "" if item.diverged == item.runs else f"; {subject} excluded from the mean"
            notes.append(f"{name}: {item.diverged} {of} diverged{_when(runs)}{excluded}.")
        if item.unfinished:
            counted = sum(value is not None for value in item.final.values)
            going = sum(run.unfinished and not run.diverged for run in runs)
            used = going and counted > item.runs - item.diverged - going
            what = "counted all the same" if used else "not counted in final"
            notes.append(f"* {name}: {item.unfinished} {of} not finished, {what}.")
    more = len(notes) - _MOST_FLAWS
    return [*notes[:_MOST_FLAWS], *([f"… and {more} more such notes."] if more > 0 else [])]


def _when(runs: Sequence[RunSummary]) -> str:
    """` at step 5`, ` at steps 5 to 812`."""
    steps = sorted({run.diverged_step for run in runs if run.diverged_step is not None})
    if len(steps) < 2:
        return f" at step {steps[0]:,}" if steps else ""
    return f" at steps {steps[0]:,} to {steps[-1]:,}"


def ranking(comparison: ComparisonResult) -> list[str]:
    """The note on ranks, where the means are not in their order."""
    sign = 1.0 if comparison.mode == "min" else -1.0
    means = [sign * row.final.mean for row in comparison.schedules if row.final.mean is not None]
    if means == sorted(means):
        return []
    return [
        "Ranks follow the median over runs, with divergence as the worst value; the means may be "
        "in another order."
    ]


def interval(comparison: ComparisonResult) -> list[str]:
    """The note on confidence intervals."""
    methods = {item.ci95_method for item in comparison.schedules} - {None}
    if not methods:
        return []
    shared = any(method != "t-own" for method in methods if method)
    noun = comparison.noun
    spread = f"spread pooled over {noun}s" if shared else f"each {noun}'s own spread"
    logs = ", of logarithms" if "t-pooled-log" in methods else ""
    return [
        "[low, high]: 95 % confidence interval of the mean over runs, Student's t "
        f"({spread}{logs})."
    ]


def on_axis(x: str, goal: str) -> str:
    """The note on the target on the axis `x`, a metric or `epoch`."""
    return (
        f"{x} to {goal}: at the step that reached it, on a straight line between two values "
        "that the run logged; runs without such values are not counted."
    )


def optimistic(comparison: ComparisonResult) -> list[str]:
    """The note on the mean of a schedule that was chosen among many."""
    alike = sum(item.could_be_best for item in comparison.schedules)
    best = min(comparison.schedules, key=lambda item: item.rank, default=None)
    if best is None or not best.optimistic or alike < 2:
        return []
    noun = comparison.noun
    which = f"first {noun}" if best is comparison.schedules[0] else f"{noun} of rank 1"
    return [
        f"The {which} is the best of {alike} that may be equally good: its mean is partly "
        "luck, and new runs will probably end worse."
    ]


def tuning(field: str, tunings: Sequence[Tuning], noun: str) -> str:
    """The note on how the values of a tuned setting were chosen."""
    seeds = max((item.chosen_on for item in tunings), key=len)
    how = f"chosen on seeds {', '.join(map(str, seeds))} and compared on the others"
    flattered = "chosen on the runs that are compared, so it looks better than it is"
    if any(item.optimistic for item in tunings):
        how = f"{how}; *: {flattered}" if seeds else f"*: {flattered}"
    return f"best {field}: the best of the values that were tried with each {noun}; {how}."


def better(other: str, noun: str) -> str:
    """The note on P(better) against `other`."""
    return (
        f"P(better): share of pairs of runs in which this {noun}'s is better than that of "
        f"{other}, with its 95 % interval; ties count half."
    )


_TESTS = {
    "tukey": "Tukey's test, valid although the data chose the best",
    "dunnett": "Dunnett's test",
    "sequential": "an always-valid test: looking again after more seeds keeps it valid",
}


def significance(comparison: ComparisonResult, other: str) -> str:
    """The note on the differences to `other`; empty if no schedule could be compared."""
    test = comparison.test
    if test.name is None or all(item.vs_best is None for item in comparison.schedules):
        return ""
    paired = f", paired by {count(test.seeds, 'seed')}" if test.seeds else ""
    logs = "" if test.scale == "linear" else ", on logarithms"
    return (
        f"vs {other}: difference of the means with intervals that hold for all "
        f"{comparison.noun}s at once in 95 % of cases, ≈: may be as good (p ≥ {LEVEL}); p by "
        f"{_TESTS[test.name]}{paired}{logs}."
    )


def equivalence(comparison: ComparisonResult) -> list[str]:
    """The note on the margin, if there is one."""
    if comparison.margin is None:
        return []
    margin = number(comparison.margin, trim=True)
    return [f"=: equivalent within {margin}, as the whole interval is."]
