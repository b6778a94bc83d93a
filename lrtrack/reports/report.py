"""Which words, columns and number formats a comparison is told in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lrtrack.reports import diagnosed
from lrtrack.reports.wording import (
    NONE,
    aligned,
    clean,
    count,
    interval,
    mean_std,
    number,
    places,
    rate,
    short_labels,
    some,
)
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
        number: aligned right and never shortened.
        whole: never shortened, though it is text.
        weight: 0: always shown; where room is short, larger weights go first.
    """

    title: str
    number: bool = True
    weight: int = 0
    whole: bool = False


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
        notes: what the reader must know to read the table right.
        warnings: what makes the table less fair or less telling than it looks.
        shortened: a further note for renderers that had to shorten or leave out.
        diagnoses: what single runs were found to have, a line each.
    """

    title: str
    headline: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    shortened: str = ""
    diagnoses: tuple[str, ...] = ()


def report_of(comparison: Comparison) -> Report:
    """Tell `comparison` in words and cells."""
    summaries = comparison.schedules
    short = short_labels((item.label, _schedule(item)) for item in summaries)
    names = [clean(short[item.label]) for item in summaries]
    decimals = places(item.final.mean for item in summaries)
    return Report(
        title=_title(comparison),
        headline=_headline(comparison, names, decimals),
        columns=_columns(comparison),
        rows=tuple(
            _row(comparison, item, name, decimals)
            for item, name in zip(summaries, names, strict=True)
        ),
        notes=_notes(comparison, names),
        warnings=tuple(clean(f"{item.code}: {item.message}") for item in comparison.warnings),
        shortened="Shortened to fit: --format csv or json has every parameter and figure.",
        diagnoses=diagnosed.lines(comparison.diagnoses, _schedules_of_runs(comparison, names)),
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


def _headline(comparison: Comparison, names: list[str], decimals: int | None) -> str:
    best, metric = comparison.schedules[0], clean(comparison.metric)
    if best.final.mean is None:
        return f"No schedule has a usable final {metric}: every run diverged or lacks it."
    value = f"{mean_std(best.final, decimals)} over {count(best.runs, 'run')}"
    if len(names) == 1:
        return f"{names[0]} ends at {metric} {value}."
    word = "lowest" if comparison.mode == "min" else "highest"
    said = f"{names[0]} has the {word} final {metric}: {value}."
    if comparison.baseline is not None:
        return said
    tested = [
        name
        for name, item in zip(names, comparison.schedules, strict=True)
        if item.p_vs_best is not None and item.indistinguishable_from_best
    ]
    if len(tested) == len(names) - 1 and len(tested) > 1:
        return f"{said} These runs tell none of the other {len(tested)} apart from it."
    if tested:
        return f"{said} Not told apart from it by these runs: {some(tested)}."
    untested = any(item.p_vs_best is None for item in comparison.schedules[1:])
    return said if untested else f"{said} Every other schedule is distinguishably worse."


def _columns(comparison: Comparison) -> tuple[Column, ...]:
    against = "best" if comparison.baseline is None else "base"
    goal = number(comparison.target, trim=True)
    return (
        Column("#"),
        Column("schedule", number=False),
        Column("runs", weight=2),
        Column("final ± std"),
        *([] if comparison.target is None else [Column(f"steps to {goal}", weight=3)]),
        Column("95 % CI", weight=7),
        Column("best", weight=5),
        Column("LR peak", weight=4),
        Column("grad norm", weight=6),
        Column("steps/s", weight=8),
        Column(f"p vs {against}", weight=1),
    )


def _row(
    comparison: Comparison, item: ScheduleSummary, short: str, decimals: int | None
) -> tuple[Cell, ...]:
    first = item.rank == 1 and item.final.mean is not None
    tone = Tone.GOOD if first else Tone.BAD if item.diverged else Tone.PLAIN
    best = item.best.min if comparison.mode == "min" else item.best.max
    reach = item.steps_to_target
    return (
        Cell(str(item.rank), tone=tone),
        Cell(clean(item.label), short, tone),
        _runs(item),
        Cell("diverged", tone=Tone.BAD)
        if item.final.mean is None and item.diverged
        else Cell(mean_std(item.final, decimals), tone=tone if first else Tone.PLAIN),
        *([] if comparison.target is None else [Cell(_reach(reach, item.runs))]),
        Cell(interval(item.final, decimals), tone=Tone.FAINT),
        Cell(aligned(best, decimals)),
        Cell(number(item.lr_peak, trim=True)),
        Cell(number(item.grad_norm.median, 3)),
        Cell(rate(item.steps_per_second), tone=Tone.FAINT),
        _verdict(comparison, item),
    )


def _runs(item: ScheduleSummary) -> Cell:
    """All runs; `2/3` where the figures have not all of them, `3*` where some are unfinished."""
    used = sum(value is not None for value in item.final.values)
    text = str(item.runs) if used == item.runs else f"{used}/{item.runs}"
    flawed = item.diverged or item.unfinished
    return Cell(text + "*" * bool(item.unfinished), tone=Tone.BAD if flawed else Tone.PLAIN)


def _reach(reach: Reach, runs: int) -> str:
    when = NONE if reach.median is None else f"{reach.median:.0f}"
    return when if reach.reached == runs else f"{when} ({reach.reached}/{runs})"


def _verdict(comparison: Comparison, item: ScheduleSummary) -> Cell:
    if comparison.baseline is None and item.rank == 1:
        return Cell("best", tone=Tone.GOOD)
    if comparison.baseline == item.label:
        return Cell("base", tone=Tone.GOOD)
    if item.p_vs_best is None:
        return Cell("≈" if item.final.mean is not None else NONE, tone=Tone.FAINT)
    digits = "<0.001" if item.p_vs_best < 0.001 else f"{item.p_vs_best:.2g}"
    return Cell(f"≈ {digits}") if item.indistinguishable_from_best else Cell(digits)


def _notes(comparison: Comparison, names: list[str]) -> tuple[str, ...]:
    items = comparison.schedules
    other = "the best" if comparison.baseline is None else clean(comparison.baseline)
    notes = []
    for name, item in zip(names, items, strict=True):
        if item.diverged:
            left = "" if item.diverged == item.runs else "; the figures leave it out"
            notes.append(f"{name}: {item.diverged} of {count(item.runs, 'run')} diverged{left}.")
        if item.unfinished:
            notes.append(f"* {name}: {item.unfinished} of {count(item.runs, 'run')} not finished.")
    notes.append("final: mean of a run's last 5 % of records, ± standard deviation over runs.")
    if len(items) > 1:
        notes.append(
            f"≈: not told apart from {other} (permutation test, Holm-corrected, p ≥ 0.05)."
        )
    return tuple(notes)


def _schedules_of_runs(comparison: Comparison, names: list[str]) -> dict[str, str]:
    """Run id → name of its schedule."""
    pairs = zip(comparison.schedules, names, strict=True)
    return {run_id: name for item, name in pairs for run_id in item.run_ids}


def _schedule(item: ScheduleSummary) -> Schedule | None:
    return None if item.id is None else Schedule(item.schedule, item.params)
