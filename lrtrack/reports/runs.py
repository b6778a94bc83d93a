"""The list of an experiment's runs, one row each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from lrtrack.errors import clean
from lrtrack.fields import JSON, plain
from lrtrack.records import FIND, METHOD, TRAIN, History, State
from lrtrack.reports.diagnosis_lines import codes, lines
from lrtrack.reports.formatting import NONE, count, number, short_labels
from lrtrack.reports.report import Cell, Column, Report, Tone
from lrtrack.stats import mode_of, summarise
from lrtrack.stats.diagnose import diagnoses_of


@dataclass(frozen=True)
class RunRow:
    """One run, as `lrtrack runs` lists it.

    Attributes:
        id: lrtrack's own run id.
        tracker_id: the run's id in the tracker it was read from; the same as `id` where the
            tracker keeps no other.
        final: mean of the last 5 % of the metric's records; None where diverged or missing, and
            for a range test, whose loss goes up in the end.
        kind: `train`, or `find` for a learning-rate range test.
        suggestion: the learning rate that a range test suggests.
        diagnoses: `{"code", "message", "hint"}` each.
    """

    name: str
    schedule: str
    schedule_id: str
    seed: int | None
    device: str
    state: str
    diverged: bool
    steps: int
    final: float | None
    tracker: str
    tracker_id: str
    id: str
    url: str | None
    kind: str = TRAIN
    suggestion: float | None = None
    diagnoses: tuple[Mapping[str, str], ...] = ()

    def to_dict(self) -> dict[str, JSON]:
        """A strict-JSON mapping."""
        return dict(plain(asdict(self)))


def rows_of(histories: Sequence[History], metric: str) -> list[RunRow]:
    """One row a history, in the order given."""
    return [_row(history, metric) for history in histories]


def runs_report(histories: Sequence[History], experiment: str | None, metric: str) -> Report:
    """Tell the runs in words and cells, in the order given."""
    rows = rows_of(histories, metric)
    short = short_labels((item.run.schedule.label, item.run.schedule) for item in histories)
    ill = any(row.diagnoses for row in rows)
    failed = sum(row.state == State.FAILED for row in rows)
    running = sum(row.state == State.RUNNING for row in rows)
    diverged = sum(row.diverged for row in rows)
    counts = [
        f"{many} {word}"
        for many, word in ((running, "running"), (failed, "failed"), (diverged, "diverged"))
        if many
    ]
    return Report(
        title=clean(" · ".join(filter(None, [experiment, count(len(rows), "run")]))),
        headline=f"{', '.join(counts) or 'All finished'}{_everywhere(rows)}.",
        columns=(
            Column("run", number=False),
            Column("schedule", number=False),
            Column("seed", weight=3),
            Column("device", number=False, weight=4, whole=True),
            Column("state", number=False, whole=True),
            Column("steps", weight=2),
            Column(f"final {clean(metric)}"),
            *([Column("diagnoses", number=False, weight=1, whole=True)] if ill else []),
            Column("tracker", number=False, weight=5, whole=True),
            Column("id", number=False, weight=6, whole=True),
        ),
        rows=tuple(_cells(row, short[row.schedule], ill) for row in rows),
        shortened="Shortened to fit: --format csv or json has everything.",
        diagnoses=lines(
            ({**each, "run_id": row.id} for row in rows for each in row.diagnoses),
            {row.id: clean(short[row.schedule]) for row in rows},
        ),
    )


def _everywhere(rows: Sequence[RunRow]) -> str:
    """The device, where it is one and the same: a narrow table has no room to repeat it."""
    devices = {row.device for row in rows}
    return f", on {clean(devices.pop())}" if len(devices) == 1 and "" not in devices else ""


def _row(history: History, metric: str) -> RunRow:
    run = history.run
    figures = summarise(history, metric, mode_of(metric), None)
    diverged = figures.diverged and run.kind == TRAIN
    return RunRow(
        name=run.name,
        schedule=run.schedule.label,
        schedule_id=run.schedule.id,
        seed=run.seed,
        device=run.device_name or run.device_type,
        state=str(history.state),
        diverged=diverged,
        steps=figures.steps,
        final=None if diverged or run.kind != TRAIN else figures.final,
        tracker=history.tracker,
        tracker_id=history.id,
        id=run.id,
        url=history.url,
        kind=run.kind,
        suggestion=run.suggestions.get(METHOD),
        diagnoses=diagnoses_of(history),
    )


def _diagnosed(row: RunRow) -> Cell:
    found = codes(row.diagnoses)
    return Cell(found or NONE, tone=Tone.BAD if found else Tone.FAINT)


def _tested(row: RunRow) -> Cell:
    """What stands under `schedule` for a range test: what it came to."""
    return Cell("LR finder" + ("" if row.suggestion is None else f" → {number(row.suggestion)}"))


def _cells(row: RunRow, short: str, ill: bool) -> tuple[Cell, ...]:
    tones = {State.FAILED: Tone.BAD, State.FINISHED: Tone.PLAIN}
    return (
        Cell(clean(row.name)),
        _tested(row) if row.kind == FIND else Cell(clean(row.schedule), clean(short)),
        Cell(NONE if row.seed is None else str(row.seed)),
        Cell(clean(row.device)),
        Cell(row.state.lower(), tone=tones.get(State(row.state), Tone.GOOD)),
        Cell(str(row.steps)),
        Cell("diverged", tone=Tone.BAD) if row.diverged else Cell(number(row.final)),
        *([_diagnosed(row)] if ill else []),
        Cell(clean(row.tracker), tone=Tone.FAINT),
        Cell(clean(row.tracker_id), tone=Tone.FAINT),
    )
