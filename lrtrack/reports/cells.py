"""The cells of a comparison's report: one function for each kind of value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lrtrack.errors import clean
from lrtrack.reports.formatting import (
    NONE,
    aligned,
    amount,
    difference,
    interval,
    mean_std,
)
from lrtrack.reports.table import Cell, Tone
from lrtrack.stats import Mode, Reach, ScheduleSummary


@dataclass(frozen=True)
class Row:
    """The data of one row: a schedule and its short name."""

    item: ScheduleSummary
    name: str


def is_first(item: ScheduleSummary) -> bool:
    """Whether a row's schedule is the best, or one of those that tie."""
    return item.rank == 1 and item.final.mean is not None


def tone_of(item: ScheduleSummary) -> Tone:
    """The tone of a row's name and rank."""
    if is_first(item):
        return Tone.GOOD
    return Tone.BAD if item.diverged else Tone.PLAIN


def rank_cell(item: ScheduleSummary, ranks: list[int]) -> Cell:
    """A schedule's rank: `2=` where others have it too."""
    shared = ranks.count(item.rank) > 1
    return Cell(f"{item.rank}=" if shared else str(item.rank), tone=tone_of(item))


def schedule_cell(row: Row) -> Cell:
    """A schedule's label, and its short name."""
    return Cell(clean(row.item.label), row.name, tone_of(row.item))


def final_cell(item: ScheduleSummary, decimals: int | None) -> Cell:
    """The mean of the final values and their deviation."""
    if item.final.mean is None and item.diverged:
        return Cell("diverged", tone=Tone.BAD)
    tone = Tone.GOOD if is_first(item) else Tone.PLAIN
    return Cell(mean_std(item.final, decimals), aligned(item.final.mean, decimals), tone)


def interval_cell(item: ScheduleSummary, decimals: int | None) -> Cell:
    """The interval of the mean."""
    return Cell(interval(item.final, decimals), tone=Tone.FAINT)


def best_cell(item: ScheduleSummary, mode: Mode, decimals: int | None) -> Cell:
    """The best value of the best run."""
    return Cell(aligned(item.best.min if mode == "min" else item.best.max, decimals))


def runs_cell(item: ScheduleSummary) -> Cell:
    """The number of runs: `2/3` where the mean is over 2 of 3, `3*` where some are unfinished."""
    used = sum(value is not None for value in item.final.values)
    text = str(item.runs) if used == item.runs else f"{used}/{item.runs}"
    flawed = item.diverged or item.unfinished
    return Cell(text + "*" * bool(item.unfinished), tone=Tone.BAD if flawed else Tone.PLAIN)


def reach_cell(reach: Reach, runs: int, text: Callable[[float], str] = amount) -> str:
    """`120`, `83 ± 28` where the metric is recorded now and then, `120 (2/3)` where not all did."""
    when = NONE if reach.median is None else text(reach.median)
    if reach.median is not None and reach.resolution is not None:
        when = f"{when} ± {text(reach.resolution)}"
    return when if reach.reached == runs else f"{when} ({reach.reached}/{runs})"


def better_cell(item: ScheduleSummary) -> Cell:
    """The share of pairs of runs in which the best schedule's is better, with its interval."""
    if item.p_improvement is None or item.p_improvement_ci95 is None:
        return Cell(NONE)
    low, high = item.p_improvement_ci95
    share = f"{item.p_improvement:.2f}"
    return Cell(f"{share} [{low:.2f}, {high:.2f}]", share)


def seeds_cell(item: ScheduleSummary) -> Cell:
    """How many seeds would show the difference."""
    return Cell(amount(item.seeds_to_tell))


def effect_cell(item: ScheduleSummary) -> Cell:
    """`−0.12 [−0.20, −0.04]`, after `=` where it is equivalent and `≈` where it may be as good."""
    if item.vs_best is None:
        return Cell(NONE)
    value, ends = difference(item.vs_best)
    mark = "≈ " if item.verdict == "indistinguishable" else ""
    mark = "= " if item.equivalent else mark
    return Cell(f"{mark}{value} {ends}", f"{mark}{value}")


def verdict_cell(item: ScheduleSummary) -> Cell:
    """The p-value against the best or the baseline, or what the row is instead."""
    if item.verdict == "best":
        return Cell("best" if item.final.mean is not None else NONE, tone=Tone.GOOD)
    if item.verdict == "baseline":
        return Cell("base", tone=Tone.GOOD)
    if item.verdict == "tie" and item.final.mean is not None:
        return Cell("tie", tone=Tone.FAINT)
    if item.p_vs_best is None:
        return Cell(NONE, tone=Tone.FAINT)
    return Cell("<0.001" if item.p_vs_best < 0.001 else f"{item.p_vs_best:.2g}")
