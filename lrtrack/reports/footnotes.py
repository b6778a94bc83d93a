"""The notes below a table: flaws of single schedules, and how the numbers were computed."""

from __future__ import annotations

from collections.abc import Sequence

from lrtrack.reports.formatting import count
from lrtrack.stats import LEVEL, PERMUTATIONS, ComparisonResult, RunSummary

#: The verdict if no outcome of the test could have been significant.
TOO_FEW = "too few runs"

_MOST_FLAWS = 6
#: From this many runs on, over 90 % of the intervals contain the true mean.
_ENOUGH = 10
FINAL = "final: mean of a run's last 5 % of records, ± standard deviation over runs."
REACH = (
    "first reached by a trailing mean over 1 % of the records; Kaplan-Meier median over runs, "
    "(1/3): 1 of 3 reached it."
)
IQM = "IQM: interquartile mean, of the middle half of the runs; from 4 runs on."
MIXED = "†: measured on different devices, so that times do not compare."


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
            notes.append(f"* {name}: {item.unfinished} {of} not finished.")
    more = len(notes) - _MOST_FLAWS
    return [*notes[:_MOST_FLAWS], *([f"… and {more} more such notes."] if more > 0 else [])]


def _when(runs: Sequence[RunSummary]) -> str:
    """` at step 5`, ` at steps 5 to 812`."""
    steps = sorted({run.diverged_step for run in runs if run.diverged_step is not None})
    if len(steps) < 2:
        return f" at step {steps[0]}" if steps else ""
    return f" at steps {steps[0]} to {steps[-1]}"


def interval(comparison: ComparisonResult) -> list[str]:
    """The note on confidence intervals, with a warning if there are few runs.

    Measured on normally distributed values: with 3, 5, 10 and 20 runs, 72, 86, 91 and 94 % of the
    intervals contain the true mean.
    """
    sizes = [
        sum(value is not None for value in item.final.values)
        for item in comparison.schedules
        if item.final.ci95 is not None
    ]
    if not sizes:
        return []
    narrow = "; from few runs it is too narrow (from 3, it holds the true mean in 7 of 10 cases)"
    return [
        "[low, high]: 95 % confidence interval of the mean over runs, BCa bootstrap"
        f"{narrow * (min(sizes) < _ENOUGH)}."
    ]


def better(other: str) -> str:
    """The note on P(better) against `other`."""
    return (
        f"P(better): share of pairs of runs in which this schedule's is better than that of "
        f"{other}; ties count half."
    )


def significance(comparison: ComparisonResult, other: str) -> str:
    """The note on the test against `other`; empty if no schedule could be tested."""
    if not any(item.verdict in ("indistinguishable", "better", "worse")
               for item in comparison.schedules):  # fmt: skip
        return ""
    return (
        f"p: permutation test against {other} (exact up to {PERMUTATIONS} permutations), paired "
        f"where the seeds are the same, Holm-corrected; ≈: not distinguishable (p ≥ {LEVEL})."
    )
