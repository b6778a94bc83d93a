"""The columns of a comparison's report, and their cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lrtrack.errors import clean
from lrtrack.fields import text_of
from lrtrack.reports import footnotes
from lrtrack.reports.formatting import (
    NONE,
    aligned,
    difference,
    interval,
    mean_std,
    number,
    rate,
)
from lrtrack.reports.table import Cell, Column, Tone
from lrtrack.stats import ComparisonResult, Mode, Reach, ScheduleSummary


@dataclass(frozen=True)
class Row:
    """The data of one row: a schedule and its short name."""

    item: ScheduleSummary
    name: str


def columns_of(
    comparison: ComparisonResult, decimals: int | None, other: str
) -> tuple[Column, ...]:
    """The columns of the report; those without any value are left out."""
    against = "best" if comparison.baseline is None else "base"
    several = len(comparison.schedules) > 1
    mark = " †" if any(item.code == "mixed-devices" for item in comparison.warnings) else ""
    ranks = [item.rank for item in comparison.schedules]
    return (
        Column("#", lambda row: _rank(row.item, ranks)),
        Column("schedule", _schedule_cell, number=False),
        Column("runs", lambda row: _runs(row.item), weight=2),
        *_tuning_columns(comparison),
        Column("final ± std", lambda row: _final(row.item, decimals)),
        *_target_columns(comparison.target, mark),
        *(
            [Column("95 % CI", lambda row: _interval(row.item, decimals), weight=7)]
            if _any(comparison, "ci95") else []
        ),
        *(
            [Column("IQM", lambda row: Cell(aligned(row.item.final.iqm, decimals)), weight=10,
                    note=footnotes.IQM)]
            if _any(comparison, "iqm") else []
        ),
        *_task_columns(comparison),
        Column("best", lambda row: _best(row.item, comparison.mode, decimals), weight=5),
        Column("LR peak", lambda row: Cell(number(row.item.lr_peak, trim=True)), weight=4),
        Column("grad norm", lambda row: Cell(number(row.item.grad_norm.median, 3)), weight=6),
        Column(f"steps/s{mark}", lambda row: Cell(rate(row.item.steps_per_second), tone=Tone.FAINT),
               weight=8, note=footnotes.MIXED if mark else ""),
        *(
            [Column("P(better)", lambda row: _better(row.item), weight=11,
                    note=footnotes.better(other)),
             Column("seeds to tell", lambda row: _seeds(row.item), weight=10,
                    note=footnotes.SEEDS)]
            if several else []
        ),
        *(
            [Column(f"vs {against}", lambda row: _effect(row.item), weight=3,
                    note=footnotes.significance(comparison, other))]
            if any(item.vs_best is not None for item in comparison.schedules) else []
        ),
        Column(f"p vs {against}", lambda row: _verdict(row.item), weight=1),
    )  # fmt: skip


def _target_columns(target: float | None, mark: str) -> list[Column]:
    """Steps and seconds to reach the target; no columns where there is no target."""
    if target is None:
        return []
    goal = number(target, trim=True)

    def steps(row: Row) -> Cell:
        return Cell(_reach(row.item.steps_to_target, row.item.runs))

    def seconds(row: Row) -> Cell:
        return Cell(_reach(row.item.seconds_to_target, row.item.runs, 3), tone=Tone.FAINT)

    return [
        Column(f"steps to {goal}", steps, weight=3, note=f"steps to {goal}: {footnotes.REACH}"),
        Column(f"seconds to {goal}{mark}", seconds, weight=9),
    ]


def _task_columns(comparison: ComparisonResult) -> list[Column]:
    """The mean rank over tasks, and the schedule's score on each."""
    if comparison.task is None:
        return []
    tasks = comparison.schedules[0].tasks

    def rank(row: Row) -> Cell:
        if row.item.across is None:
            return Cell(NONE)
        low, high = row.item.across.rank_ci95
        text = f"{row.item.across.rank:.1f}"
        return Cell(f"{text} [{low:.1f}, {high:.1f}]", text)

    def score(at: int) -> Callable[[Row], Cell]:
        return lambda row: Cell(number(row.item.tasks[at].score, 3))

    return [
        Column("mean rank", rank, weight=2, note=footnotes.TASKS),
        *(Column(clean(task.task), score(at), weight=4) for at, task in enumerate(tasks)),
    ]


def _tuning_columns(comparison: ComparisonResult) -> list[Column]:
    """The best value of the tuned setting, and how many were tried."""
    tunings = [item.tuning for item in comparison.schedules if item.tuning is not None]
    if not tunings:
        return []

    def cell(row: Row) -> Cell:
        tuning = row.item.tuning
        if tuning is None:
            return Cell(NONE)
        mark = "*" if tuning.optimistic else ""
        return Cell(f"{clean(text_of(tuning.value))}{mark} of {len(tuning.tried)}")

    field = clean(tunings[0].field)
    return [Column(f"best {field}", cell, weight=2, note=footnotes.tuning(field, tunings))]


def _is_first(item: ScheduleSummary) -> bool:
    return item.rank == 1 and item.final.mean is not None


def _tone(item: ScheduleSummary) -> Tone:
    if _is_first(item):
        return Tone.GOOD
    return Tone.BAD if item.diverged else Tone.PLAIN


def _rank(item: ScheduleSummary, ranks: list[int]) -> Cell:
    shared = ranks.count(item.rank) > 1
    return Cell(f"{item.rank}=" if shared else str(item.rank), tone=_tone(item))


def _schedule_cell(row: Row) -> Cell:
    return Cell(clean(row.item.label), row.name, _tone(row.item))


def _final(item: ScheduleSummary, decimals: int | None) -> Cell:
    if item.final.mean is None and item.diverged:
        return Cell("diverged", tone=Tone.BAD)
    tone = Tone.GOOD if _is_first(item) else Tone.PLAIN
    return Cell(mean_std(item.final, decimals), tone=tone)


def _interval(item: ScheduleSummary, decimals: int | None) -> Cell:
    return Cell(interval(item.final, decimals), tone=Tone.FAINT)


def _best(item: ScheduleSummary, mode: Mode, decimals: int | None) -> Cell:
    return Cell(aligned(item.best.min if mode == "min" else item.best.max, decimals))


def _runs(item: ScheduleSummary) -> Cell:
    """The number of runs: `2/3` where the mean is over 2 of 3, `3*` where some are unfinished."""
    used = sum(value is not None for value in item.final.values)
    text = str(item.runs) if used == item.runs else f"{used}/{item.runs}"
    flawed = item.diverged or item.unfinished
    return Cell(text + "*" * bool(item.unfinished), tone=Tone.BAD if flawed else Tone.PLAIN)


def _reach(reach: Reach, runs: int, digits: int | None = None) -> str:
    """`120`, `83 ± 28` where the metric is recorded now and then, `120 (2/3)` where not all did."""

    def text(value: float) -> str:
        return number(value, digits) if digits else f"{value:.0f}"

    when = NONE if reach.median is None else text(reach.median)
    if reach.median is not None and reach.resolution is not None:
        when = f"{when} ± {text(reach.resolution)}"
    return when if reach.reached == runs else f"{when} ({reach.reached}/{runs})"


def _better(item: ScheduleSummary) -> Cell:
    if item.p_improvement is None or item.p_improvement_ci95 is None:
        return Cell(NONE)
    low, high = item.p_improvement_ci95
    share = f"{item.p_improvement:.2f}"
    return Cell(f"{share} [{low:.2f}, {high:.2f}]", share)


def _seeds(item: ScheduleSummary) -> Cell:
    return Cell(NONE if item.seeds_to_tell is None else str(item.seeds_to_tell))


def _effect(item: ScheduleSummary) -> Cell:
    value, ends = difference(item.vs_best)
    return Cell(NONE if item.vs_best is None else f"{value} {ends}", value)


def _verdict(item: ScheduleSummary) -> Cell:
    if item.verdict == "best":
        return Cell("best" if item.final.mean is not None else NONE, tone=Tone.GOOD)
    if item.verdict == "baseline":
        return Cell("base", tone=Tone.GOOD)
    if item.verdict == "tie" and item.final.mean is not None:
        return Cell("tie", tone=Tone.FAINT)
    if item.p_vs_best is None:
        return Cell(NONE, tone=Tone.FAINT)
    digits = "<0.001" if item.p_vs_best < 0.001 else f"{item.p_vs_best:.2g}"
    if item.equivalent:
        return Cell(f"= {digits}")
    return Cell(f"≈ {digits}" if item.verdict == "indistinguishable" else digits)


def _any(comparison: ComparisonResult, figure: str) -> bool:
    return any(getattr(item.final, figure) is not None for item in comparison.schedules)
