"""The columns of a comparison's report, and their cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from lrtrack.errors import clean
from lrtrack.fields import text_of
from lrtrack.reports import footnotes
from lrtrack.reports.axes import own_title
from lrtrack.reports.cells import (
    Row,
    best_cell,
    better_cell,
    effect_cell,
    final_cell,
    interval_cell,
    rank_cell,
    reach_cell,
    runs_cell,
    schedule_cell,
    seeds_cell,
    verdict_cell,
)
from lrtrack.reports.formatting import (
    NONE,
    aligned,
    amount,
    number,
    rate,
    readable,
)
from lrtrack.reports.table import Cell, Column, Tone
from lrtrack.stats import ComparisonResult, TargetScore


def columns_of(
    comparison: ComparisonResult, decimals: int | None, other: str
) -> tuple[Column, ...]:
    """The columns of the report; those without any value are left out."""
    against = "best" if comparison.baseline is None else "base"
    mark = " †" if any(item.code == "mixed-devices" for item in comparison.warnings) else ""
    ranks = [item.rank for item in comparison.schedules]
    return (
        Column("#", lambda row: rank_cell(row.item, ranks)),
        Column(comparison.noun, schedule_cell, number=False),
        Column("runs", lambda row: runs_cell(row.item), weight=2),
        *_tuning_columns(comparison),
        Column("final ± std", lambda row: final_cell(row.item, decimals), holds=4,
               short_title="final"),
        *_target_columns(comparison, mark),
        *(
            [Column("95 % CI", lambda row: interval_cell(row.item, decimals), weight=7)]
            if _any(comparison, "ci95") else []
        ),
        *(
            [Column("IQM", lambda row: Cell(aligned(row.item.final.iqm, decimals)), weight=10,
                    note=footnotes.IQM)]
            if comparison.task is None and _any(comparison, "iqm") else []
        ),
        *_task_columns(comparison),
        *(
            [Column("best", lambda row: best_cell(row.item, comparison.mode, decimals), weight=6)]
            if comparison.task is None else []
        ),
        Column("LR peak", lambda row: Cell(number(row.item.lr_peak, trim=True)), weight=6),
        Column("grad norm", lambda row: Cell(number(row.item.grad_norm.median, 3)), weight=6),
        Column(f"steps/s{mark}", lambda row: Cell(rate(row.item.steps_per_second), tone=Tone.FAINT),
               weight=8, note=footnotes.MIXED if mark else ""),
        *(_pair_columns(comparison, other) if len(comparison.schedules) > 1 else []),
        *(
            [Column(f"vs {against}", lambda row: effect_cell(row.item), weight=3, holds=3,
                    note=footnotes.significance(comparison, other))]
            if any(item.vs_best is not None for item in comparison.schedules) else []
        ),
        Column(f"p vs {against}", lambda row: verdict_cell(row.item), weight=4),
    )  # fmt: skip


def _pair_columns(comparison: ComparisonResult, other: str) -> list[Column]:
    """How often runs are better than those of `other`, and how many would tell the difference."""
    unit = "seeds" if comparison.task is None else "runs"
    return [
        Column(
            "P(better)",
            lambda row: better_cell(row.item),
            weight=7,
            note=footnotes.better(other, comparison.noun),
        ),
        Column(
            f"{unit} to tell",
            lambda row: seeds_cell(row.item),
            weight=5,
            note=footnotes.seeds(comparison),
        ),
    ]


def _target_columns(comparison: ComparisonResult, mark: str) -> list[Column]:
    """Steps and seconds to reach the target; over several tasks, scores of them."""
    if comparison.task is not None:
        return _target_scores(comparison, mark)
    if comparison.target is None or isinstance(comparison.target, Mapping):
        return []
    goal = number(comparison.target, trim=True)

    def steps(row: Row) -> Cell:
        return Cell(reach_cell(row.item.steps_to_target, row.item.runs))

    def seconds(row: Row) -> Cell:
        reach = reach_cell(row.item.seconds_to_target, row.item.runs, partial(number, digits=3))
        return Cell(reach, tone=Tone.FAINT)

    def place(row: Row) -> Cell:
        reach = row.item.x_to_target
        return Cell(NONE if reach is None else reach_cell(reach, reach.runs, amount))

    x = own_title(comparison.x)
    return [
        Column(f"steps to {goal}", steps, weight=3, note=f"steps to {goal}: {footnotes.REACH}"),
        *(
            [Column(f"{x} to {goal}", place, weight=2, note=footnotes.on_axis(x, goal))]
            if x
            else []
        ),
        Column(f"seconds to {goal}{mark}", seconds, weight=9),
    ]


def _target_scores(comparison: ComparisonResult, mark: str) -> list[Column]:
    """How soon targets are reached over several tasks, by steps and by seconds."""
    if comparison.target is None:
        return []

    def steps(row: Row) -> Cell:
        across = row.item.across
        return _target_score(None if across is None else across.steps_to_target)

    def seconds(row: Row) -> Cell:
        across = row.item.across
        score = None if across is None else across.seconds_to_target
        return replace(_target_score(score), tone=Tone.FAINT)

    def place(row: Row) -> Cell:
        across = row.item.across
        return _target_score(None if across is None else across.x_to_target)

    x = own_title(comparison.x)
    return [
        Column("target score", steps, weight=3, note=footnotes.target_score(comparison)),
        *([Column(f"in {x}", place, weight=3)] if x else []),
        Column(f"in seconds{mark}", seconds, weight=9),
    ]


def _target_score(score: TargetScore | None) -> Cell:
    """`0.83`, or `0.50 (2/3)` where the target was reached on 2 of 3 tasks."""
    if score is None:
        return Cell(NONE)
    reached = sum(ratio is not None for ratio in score.ratios)
    part = "" if reached == len(score.ratios) else f" ({reached}/{len(score.ratios)})"
    return Cell(f"{score.score:.2f}{part}")


def _task_columns(comparison: ComparisonResult) -> list[Column]:
    """The mean rank over tasks, the score on each, and aggregates of all scores."""
    if comparison.task is None:
        return []
    tasks = comparison.schedules[0].tasks

    def across(figure: str, decimals: int) -> Callable[[Row], Cell]:
        def cell(row: Row) -> Cell:
            value = getattr(row.item.across, figure, None)
            return _with_interval(value, getattr(row.item.across, f"{figure}_ci95", None), decimals)

        return cell

    def score(at: int) -> Callable[[Row], Cell]:
        return lambda row: Cell(number(row.item.tasks[at].score, 3))

    return [
        Column("mean rank", across("rank", 1), weight=2, note=footnotes.TASKS),
        *(
            Column(clean(task.task), score(at), weight=5, group="tasks")
            for at, task in enumerate(tasks)
        ),
        Column("IQM", across("iqm", 3), weight=10, note=footnotes.TASK_IQM),
        Column("optimality gap", across("optimality_gap", 3), weight=10, note=footnotes.GAP),
    ]


def _with_interval(value: float | None, ends: tuple[float, float] | None, decimals: int) -> Cell:
    if value is None:
        return Cell(NONE)
    text = aligned(value, decimals)
    if ends is None:
        return Cell(text)
    return Cell(f"{text} [{', '.join(aligned(end, decimals) for end in ends)}]", text)


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
        return Cell(f"{clean(readable(text_of(tuning.value)))}{mark} of {len(tuning.tried)}")

    field = clean(tunings[0].field)
    return [
        Column(
            f"best {field}", cell, weight=2, note=footnotes.tuning(field, tunings, comparison.noun)
        )
    ]


def _any(comparison: ComparisonResult, figure: str) -> bool:
    return any(getattr(item.final, figure) is not None for item in comparison.schedules)
