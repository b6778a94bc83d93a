"""The columns of a comparison's report, and their cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from lrtrack.errors import clean
from lrtrack.fields import text_of
from lrtrack.reports import footnotes
from lrtrack.reports.axes import own_title
from lrtrack.reports.formatting import (
    NONE,
    aligned,
    amount,
    difference,
    interval,
    mean_std,
    number,
    rate,
    readable,
)
from lrtrack.reports.table import Cell, Column, Tone
from lrtrack.stats import ComparisonResult, Mode, Reach, ScheduleSummary, TargetScore


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
    mark = " †" if any(item.code == "mixed-devices" for item in comparison.warnings) else ""
    ranks = [item.rank for item in comparison.schedules]
    return (
        Column("#", lambda row: _rank(row.item, ranks)),
        Column(comparison.noun, _schedule_cell, number=False),
        Column("runs", lambda row: _runs(row.item), weight=2),
        *_tuning_columns(comparison),
        Column("final ± std", lambda row: _final(row.item, decimals), holds=4, short_title="final"),
        *_target_columns(comparison, mark),
        *(
            [Column("95 % CI", lambda row: _interval(row.item, decimals), weight=7)]
            if _any(comparison, "ci95") else []
        ),
        *(
            [Column("IQM", lambda row: Cell(aligned(row.item.final.iqm, decimals)), weight=10,
                    note=footnotes.IQM)]
            if comparison.task is None and _any(comparison, "iqm") else []
        ),
        *_task_columns(comparison),
        *(
            [Column("best", lambda row: _best(row.item, comparison.mode, decimals), weight=6)]
            if comparison.task is None else []
        ),
        Column("LR peak", lambda row: Cell(number(row.item.lr_peak, trim=True)), weight=6),
        Column("grad norm", lambda row: Cell(number(row.item.grad_norm.median, 3)), weight=6),
        Column(f"steps/s{mark}", lambda row: Cell(rate(row.item.steps_per_second), tone=Tone.FAINT),
               weight=8, note=footnotes.MIXED if mark else ""),
        *(_pair_columns(comparison, other) if len(comparison.schedules) > 1 else []),
        *(
            [Column(f"vs {against}", lambda row: _effect(row.item), weight=3, holds=3,
                    note=footnotes.significance(comparison, other))]
            if any(item.vs_best is not None for item in comparison.schedules) else []
        ),
        Column(f"p vs {against}", lambda row: _verdict(row.item), weight=4),
    )  # fmt: skip


def _pair_columns(comparison: ComparisonResult, other: str) -> list[Column]:
    """How often runs are better than those of `other`, and how many would tell the difference."""
    unit = "seeds" if comparison.task is None else "runs"
    return [
        Column(
            "P(better)",
            lambda row: _better(row.item),
            weight=7,
            note=footnotes.better(other, comparison.noun),
        ),
        Column(
            f"{unit} to tell",
            lambda row: _seeds(row.item),
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
        return Cell(_reach(row.item.steps_to_target, row.item.runs))

    def seconds(row: Row) -> Cell:
        reach = _reach(row.item.seconds_to_target, row.item.runs, partial(number, digits=3))
        return Cell(reach, tone=Tone.FAINT)

    def place(row: Row) -> Cell:
        reach = row.item.x_to_target
        return Cell(NONE if reach is None else _reach(reach, reach.runs, amount))

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
    return Cell(mean_std(item.final, decimals), aligned(item.final.mean, decimals), tone)


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


def _reach(reach: Reach, runs: int, text: Callable[[float], str] = amount) -> str:
    """`120`, `83 ± 28` where the metric is recorded now and then, `120 (2/3)` where not all did."""
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
    return Cell(amount(item.seeds_to_tell))


def _effect(item: ScheduleSummary) -> Cell:
    """`−0.12 [−0.20, −0.04]`, after `=` where it is equivalent and `≈` where it may be as good."""
    if item.vs_best is None:
        return Cell(NONE)
    value, ends = difference(item.vs_best)
    mark = "≈ " if item.verdict == "indistinguishable" else ""
    mark = "= " if item.equivalent else mark
    return Cell(f"{mark}{value} {ends}", f"{mark}{value}")


def _verdict(item: ScheduleSummary) -> Cell:
    if item.verdict == "best":
        return Cell("best" if item.final.mean is not None else NONE, tone=Tone.GOOD)
    if item.verdict == "baseline":
        return Cell("base", tone=Tone.GOOD)
    if item.verdict == "tie" and item.final.mean is not None:
        return Cell("tie", tone=Tone.FAINT)
    if item.p_vs_best is None:
        return Cell(NONE, tone=Tone.FAINT)
    return Cell("<0.001" if item.p_vs_best < 0.001 else f"{item.p_vs_best:.2g}")


def _any(comparison: ComparisonResult, figure: str) -> bool:
    return any(getattr(item.final, figure) is not None for item in comparison.schedules)
