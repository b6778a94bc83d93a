"""The words of a comparison's report."""

from __future__ import annotations

from lrtrack.errors import clean
from lrtrack.reports import diagnosis_lines, footnotes
from lrtrack.reports.cells import Row
from lrtrack.reports.columns import columns_of
from lrtrack.reports.formatting import count, places, short_labels, shortened
from lrtrack.reports.headline import headline
from lrtrack.reports.table import Report, rows_of
from lrtrack.schedules import Schedule
from lrtrack.stats import ComparisonResult, ScheduleSummary, untuned


def report_of(comparison: ComparisonResult) -> Report:
    """Build the report of `comparison`."""
    summaries = comparison.schedules
    short = short_labels((item.label, _schedule(item)) for item in summaries)
    names = [clean(short[item.label]) for item in summaries]
    decimals = places(item.final.mean for item in summaries)
    based = [
        name for name, item in zip(names, summaries, strict=True) if item.verdict == "baseline"
    ]
    columns = columns_of(comparison, decimals, shortened(based[0]) if based else "the best")
    return Report(
        title=_title(comparison),
        headline=headline(comparison, names, decimals),
        columns=columns,
        rows=rows_of(columns, map(Row, summaries, names)),
        footnotes=(
            *footnotes.flaws(comparison, names),
            footnotes.final(comparison),
            *footnotes.ranking(comparison),
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
        f"{count(len(comparison.schedules), comparison.noun)}, {count(runs, 'run')}",
    ]
    return " · ".join(filter(None, map(clean, parts)))


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
    """The schedule that the label names; None if the label stands for several."""
    if item.id is None:
        return None
    schedule = Schedule(item.schedule, item.params, item.source)
    return schedule if item.tuning is None else untuned(schedule, item.tuning.field)
