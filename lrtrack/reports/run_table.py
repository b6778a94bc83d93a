"""The table of a comparison's single runs: its columns, cells and links."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lrtrack.errors import clean
from lrtrack.records import History
from lrtrack.reports.diagnosis_lines import Key, codes, key_of
from lrtrack.reports.formatting import NONE, number
from lrtrack.reports.table import Cell, Column, Tone, rows_of
from lrtrack.stats import ComparisonResult, RunSummary

#: The columns that the page's script reads by title.
RUN, FINAL = "run", "final"


@dataclass(frozen=True)
class ComparedRun:
    """The data of one row.

    Attributes:
        label: the schedule's whole label.
        schedule: the schedule's short name.
        diagnoses: `{"code", "run_id", "message", "hint"}` each.
    """

    label: str
    schedule: str
    summary: RunSummary
    history: History
    diagnoses: Sequence[Mapping[str, str]]


def _final(row: ComparedRun) -> Cell:
    if row.summary.diverged:
        return Cell(f"diverged at {row.summary.diverged_step}", tone=Tone.BAD)
    return Cell(number(row.summary.final))


def _diagnoses(row: ComparedRun) -> Cell:
    messages = " ".join(clean(f"{item['code']}: {item['message']}") for item in row.diagnoses)
    return Cell(messages, codes(row.diagnoses), Tone.BAD)


def _page(history: History) -> str | None:
    """The address of a run's page, perhaps of one that has to be served first."""
    return history.url or (history.served.url if history.served is not None else None)


def _whole(value: int | None) -> Cell:
    return Cell(NONE if value is None else str(value))


COLUMNS = (
    Column("schedule", lambda row: Cell(clean(row.label), row.schedule), number=False),
    Column(RUN, lambda row: Cell(clean(row.history.run.name) or row.history.id,
                                 link=_page(row.history)), number=False),
    Column("seed", lambda row: _whole(row.history.run.seed)),
    Column("state", lambda row: Cell(row.history.state.lower()), number=False, whole=True),
    Column("steps", lambda row: _whole(row.summary.steps)),
    Column(FINAL, _final),
    Column("best", lambda row: Cell(number(row.summary.best))),
    Column("at step", lambda row: _whole(row.summary.best_step)),
    Column("LR peak", lambda row: Cell(number(row.summary.lr_peak))),
    Column("steps/s", lambda row: Cell(number(row.summary.steps_per_second))),
    Column("diagnoses", _diagnoses, number=False, whole=True),
    Column("tracker", lambda row: Cell(clean(row.history.tracker)), number=False, whole=True),
    Column("id", lambda row: Cell(clean(row.history.id)), number=False, whole=True),
)  # fmt: skip


def cells_of_runs(
    comparison: ComparisonResult, names: Sequence[str]
) -> tuple[tuple[Cell, ...], ...]:
    """The cells of `COLUMNS`, one row per run in the order of `ComparisonResult.histories`.

    Args:
        names: the short name of each schedule.
    """
    return rows_of(COLUMNS, _rows(comparison, names))


def _rows(comparison: ComparisonResult, names: Sequence[str]) -> Iterator[ComparedRun]:
    diagnoses: dict[Key, list[Mapping[str, str]]] = {}
    for diagnosis in comparison.diagnoses:
        diagnoses.setdefault(key_of(diagnosis), []).append(diagnosis)
    histories = iter(comparison.histories)
    for schedule, name, runs in zip(
        comparison.schedules, names, comparison.by_schedule(), strict=True
    ):
        for run in runs:
            history = next(histories)
            own = diagnoses.get((run.run_id, history.run.prefix), ())
            yield ComparedRun(schedule.label, name, run, history, own)
