"""The words, columns and number formats of a comparison's report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lrtrack.errors import clean
from lrtrack.fields import text_of
from lrtrack.reports import diagnosis_lines, footnotes
from lrtrack.reports.formatting import (
    NONE,
    aligned,
    count,
    difference,
    interval,
    mean_std,
    number,
    places,
    rate,
    short_labels,
    shortened,
)
from lrtrack.reports.headline import headline
from lrtrack.schedules import Schedule
from lrtrack.stats import ComparisonResult, Mode, Reach, ScheduleSummary


class Tone(StrEnum):
    """The meaning of a cell, for renderers that have colours."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"
    FAINT = "faint"


@dataclass(frozen=True)
class Cell:
    """One cell: text without control characters, and a shorter form for narrow tables.

    Attributes:
        link: the address of a page about it, for formats that have links.
    """

    text: str
    short: str = ""
    tone: Tone = Tone.PLAIN
    link: str | None = None


@dataclass(frozen=True)
class Column:
    """One column: its title and how to make its cell from a row's data.

    Attributes:
        cell: returns the cell of one row, given the data of that row.
        number: whether cells are aligned right and shortened only to their own short form.
        weight: 0 for a column that is always shown; where space is short, columns with larger
            weights are dropped first.
        whole: whether cells are never shortened although they are text.
        note: how the column's numbers are computed; `Report.footnotes` has it too.
    """

    title: str
    cell: Callable[[Any], Cell]
    number: bool = True
    weight: int = 0
    whole: bool = False
    note: str = ""


def rows_of(columns: Iterable[Column], rows: Iterable[Any]) -> tuple[tuple[Cell, ...], ...]:
    """The cells of a table, row by row."""
    columns = tuple(columns)
    return tuple(tuple(column.cell(row) for column in columns) for row in rows)


@dataclass(frozen=True)
class Report:
    """A table and its text, independent of the output format.

    Attributes:
        headline: the result in one sentence.
        footnotes: how to read the table and how its numbers were computed.
        warnings: reasons why the comparison may be unfair or inconclusive.
        shortened: a note for renderers that had to shorten cells or drop columns.
        diagnoses: the diagnoses of single runs, one line each.
        names: the short name of each schedule, in the order of the rows.
    """

    title: str
    headline: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    footnotes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    shortened: str = ""
    diagnoses: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Row:
    """The data of one row: a schedule and its short name."""

    item: ScheduleSummary
    name: str


def report_of(comparison: ComparisonResult) -> Report:
    """Build the report of `comparison`."""
    summaries = comparison.schedules
    short = short_labels((item.label, _schedule(item)) for item in summaries)
    names = [clean(short[item.label]) for item in summaries]
    decimals = places(item.final.mean for item in summaries)
    based = [
        name for name, item in zip(names, summaries, strict=True) if item.verdict == "baseline"
    ]
    columns = _columns(comparison, decimals, shortened(based[0]) if based else "the best")
    return Report(
        title=_title(comparison),
        headline=headline(comparison, names, decimals),
        columns=columns,
        rows=rows_of(columns, map(_Row, summaries, names)),
        footnotes=(
            *footnotes.flaws(comparison, names),
            footnotes.FINAL,
            *footnotes.interval(comparison),
            *footnotes.optimistic(comparison),
            *(item.note for item in columns if item.note),
            *footnotes.equivalence(comparison),
        ),
        warnings=tuple(clean(f"{item.code}: {item.message}") for item in comparison.warnings),
        shortened="Shortened to fit: --format csv or json has every parameter and figure.",
        diagnoses=diagnosis_lines.lines(
            comparison.diagnoses, _schedules_of_runs(comparison, names)
        ),
        names=tuple(names),
    )


def _title(comparison: ComparisonResult) -> str:
    runs = sum(item.runs for item in comparison.schedules)
    better = "lower" if comparison.mode == "min" else "higher"
    parts = [
        comparison.experiment or "",
        f"{comparison.metric} ({better} is better)",
        f"{count(len(comparison.schedules), 'schedule')}, {count(runs, 'run')}",
    ]
    return " · ".join(filter(None, map(clean, parts)))


def _columns(comparison: ComparisonResult, decimals: int | None, other: str) -> tuple[Column, ...]:
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

    def steps(row: _Row) -> Cell:
        return Cell(_reach(row.item.steps_to_target, row.item.runs))

    def seconds(row: _Row) -> Cell:
        return Cell(_reach(row.item.seconds_to_target, row.item.runs, 3), tone=Tone.FAINT)

    return [
        Column(f"steps to {goal}", steps, weight=3, note=f"steps to {goal}: {footnotes.REACH}"),
        Column(f"seconds to {goal}{mark}", seconds, weight=9),
    ]


def _tuning_columns(comparison: ComparisonResult) -> list[Column]:
    """The best value of the tuned setting, and how many were tried."""
    tunings = [item.tuning for item in comparison.schedules if item.tuning is not None]
    if not tunings:
        return []

    def cell(row: _Row) -> Cell:
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


def _schedule_cell(row: _Row) -> Cell:
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


def _schedules_of_runs(
    comparison: ComparisonResult, names: list[str]
) -> dict[diagnosis_lines.Key, str]:
    """For each run the name of its schedule."""
    pairs = zip(comparison.schedules, names, strict=True)
    of_runs = [name for item, name in pairs for _ in item.run_ids]
    return {
        (history.id, history.run.prefix): name
        for name, history in zip(of_runs, comparison.histories, strict=True)
    }


def _schedule(item: ScheduleSummary) -> Schedule | None:
    return None if item.id is None else Schedule(item.schedule, item.params, item.source)
