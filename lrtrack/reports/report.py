"""Which words, columns and number formats a comparison is told in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lrtrack.errors import clean
from lrtrack.reports import diagnosis_lines, footnotes
from lrtrack.reports.formatting import (
    NONE,
    aligned,
    count,
    interval,
    mean_std,
    number,
    places,
    rate,
    short_labels,
    shortened,
)
from lrtrack.reports.headline import headline, tested
from lrtrack.schedules import Schedule
from lrtrack.stats import Comparison, Reach, ScheduleSummary


class Tone(StrEnum):
    """What a cell is, for renderers that have colours."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"
    FAINT = "faint"


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        number: aligned right and shortened to no other form than the cells' own short one.
        whole: never shortened, though it is text.
        weight: 0: always shown; where room is short, larger weights go first.
        note: how its figures came about; also in `Report.footnotes`, of no use without the column.
    """

    title: str
    number: bool = True
    weight: int = 0
    whole: bool = False
    note: str = ""


@dataclass(frozen=True)
class Cell:
    """One cell: text without control characters, and a shorter form for narrow tables."""

    text: str
    short: str = ""
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True)
class Report:
    """A table with its words, in no format.

    Attributes:
        headline: one sentence that says what came out.
        notes: what the reader must know to read the table right, and how it was computed.
        warnings: what makes the table less fair or less telling than it looks.
        shortened: a further note for renderers that had to shorten or leave out.
        diagnoses: what single runs were found to have, a line each.
    """

    title: str
    headline: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    footnotes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    shortened: str = ""
    diagnoses: tuple[str, ...] = ()


def report_of(comparison: Comparison) -> Report:
    """Tell `comparison` in words and cells."""
    summaries = comparison.schedules
    short = short_labels((item.label, _schedule(item)) for item in summaries)
    names = [clean(short[item.label]) for item in summaries]
    decimals = places(item.final.mean for item in summaries)
    based = [
        name for name, item in zip(names, summaries, strict=True) if item.verdict == "baseline"
    ]
    columns = _columns(comparison, shortened(based[0]) if based else "the best")
    return Report(
        title=_title(comparison),
        headline=headline(comparison, names, decimals),
        columns=columns,
        rows=tuple(
            _row(comparison, item, name, decimals)
            for item, name in zip(summaries, names, strict=True)
        ),
        footnotes=(
            *footnotes.flaws(comparison, names),
            footnotes.FINAL,
            *footnotes.interval(comparison),
            *(item.note for item in columns if item.note),
        ),
        warnings=tuple(clean(f"{item.code}: {item.message}") for item in comparison.warnings),
        shortened="Shortened to fit: --format csv or json has every parameter and figure.",
        diagnoses=diagnosis_lines.lines(
            comparison.diagnoses, _schedules_of_runs(comparison, names)
        ),
    )


def _title(comparison: Comparison) -> str:
    runs = sum(item.runs for item in comparison.schedules)
    better = "lower" if comparison.mode == "min" else "higher"
    parts = [
        comparison.experiment or "",
        f"{comparison.metric} ({better} is better)",
        f"{count(len(comparison.schedules), 'schedule')}, {count(runs, 'run')}",
    ]
    return " · ".join(filter(None, map(clean, parts)))


def _columns(comparison: Comparison, other: str) -> tuple[Column, ...]:
    against = "best" if comparison.baseline is None else "base"
    goal = number(comparison.target, trim=True)
    several = len(comparison.schedules) > 1
    mark = " †" if any(item.code == "mixed-devices" for item in comparison.warnings) else ""
    return (
        Column("#"),
        Column("schedule", number=False),
        Column("runs", weight=2),
        Column("final ± std"),
        *(
            [Column(f"steps to {goal}", weight=3, note=f"steps to {goal}: {footnotes.REACH}"),
             Column(f"seconds to {goal}{mark}", weight=9)]
            if comparison.target is not None else []
        ),
        *([Column("95 % CI", weight=7)] if _any(comparison, "ci95") else []),
        *([Column("IQM", weight=10, note=footnotes.IQM)] if _any(comparison, "iqm") else []),
        Column("best", weight=5),
        Column("LR peak", weight=4),
        Column("grad norm", weight=6),
        Column(f"steps/s{mark}", weight=8, note=footnotes.MIXED if mark else ""),
        *([Column("P(better)", weight=11, note=footnotes.better(other))] if several else []),
        Column(f"p vs {against}", weight=1, note=footnotes.significance(comparison, other)),
    )  # fmt: skip


def _row(
    comparison: Comparison, item: ScheduleSummary, short: str, decimals: int | None
) -> tuple[Cell, ...]:
    first = item.rank == 1 and item.final.mean is not None
    tone = Tone.GOOD if first else Tone.BAD if item.diverged else Tone.PLAIN
    best = item.best.min if comparison.mode == "min" else item.best.max
    shared = [other.rank for other in comparison.schedules].count(item.rank) > 1
    return (
        Cell(f"{item.rank}=" if shared else str(item.rank), tone=tone),
        Cell(clean(item.label), short, tone),
        _runs(item),
        Cell("diverged", tone=Tone.BAD)
        if item.final.mean is None and item.diverged
        else Cell(mean_std(item.final, decimals), tone=tone if first else Tone.PLAIN),
        *(
            []
            if comparison.target is None
            else [
                Cell(_reach(item.steps_to_target, item.runs)),
                Cell(_reach(item.seconds_to_target, item.runs, 3), tone=Tone.FAINT),
            ]
        ),
        *(
            [Cell(interval(item.final, decimals), tone=Tone.FAINT)]
            if _any(comparison, "ci95")
            else []
        ),
        *([Cell(aligned(item.final.iqm, decimals))] if _any(comparison, "iqm") else []),
        Cell(aligned(best, decimals)),
        Cell(number(item.lr_peak, trim=True)),
        Cell(number(item.grad_norm.median, 3)),
        Cell(rate(item.steps_per_second), tone=Tone.FAINT),
        *([Cell(_share(item.p_improvement))] if len(comparison.schedules) > 1 else []),
        _verdict(comparison, item),
    )


def _runs(item: ScheduleSummary) -> Cell:
    """All runs; `2/3` where the figures have not all of them, `3*` where some are unfinished."""
    used = sum(value is not None for value in item.final.values)
    text = str(item.runs) if used == item.runs else f"{used}/{item.runs}"
    flawed = item.diverged or item.unfinished
    return Cell(text + "*" * bool(item.unfinished), tone=Tone.BAD if flawed else Tone.PLAIN)


def _reach(reach: Reach, runs: int, digits: int | None = None) -> str:
    when = number(reach.median, digits) if digits else f"{reach.median or 0.0:.0f}"
    when = NONE if reach.median is None else when
    return when if reach.reached == runs else f"{when} ({reach.reached}/{runs})"


def _share(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"


def _verdict(comparison: Comparison, item: ScheduleSummary) -> Cell:
    if item.verdict == "best":
        return Cell("best" if item.final.mean is not None else NONE, tone=Tone.GOOD)
    if item.verdict == "baseline":
        return Cell("base", tone=Tone.GOOD)
    if item.verdict == "too-few-runs":
        base = next(x for x in comparison.schedules if x.verdict in ("best", "baseline"))
        size = f"n={min(tested(item), tested(base))}"
        return Cell(f"{footnotes.TOO_FEW} ({size})", size, Tone.FAINT)
    if item.verdict in ("none", "tie"):
        tied = item.verdict == "tie" and item.final.mean is not None
        return Cell("tie" if tied else NONE, tone=Tone.FAINT)
    p = item.p_vs_best or 0.0
    digits = "<0.001" if p < 0.001 else f"{p:.2g}"
    return Cell(f"≈ {digits}" if item.verdict == "indistinguishable" else digits)


def _any(comparison: Comparison, figure: str) -> bool:
    return any(getattr(item.final, figure) is not None for item in comparison.schedules)


def _schedules_of_runs(comparison: Comparison, names: list[str]) -> dict[str, str]:
    """Run id → name of its schedule."""
    pairs = zip(comparison.schedules, names, strict=True)
    return {run_id: name for item, name in pairs for run_id in item.run_ids}


def _schedule(item: ScheduleSummary) -> Schedule | None:
    return None if item.id is None else Schedule(item.schedule, item.params)
