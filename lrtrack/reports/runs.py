"""The list of an experiment's runs, one row each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from lrtrack.errors import clean
from lrtrack.fields import JSON, plain
from lrtrack.records import FIND, METHOD, TRAIN, History, State, abandoned
from lrtrack.reports.diagnosis_lines import codes, lines
from lrtrack.reports.formatting import NONE, count, number, short_labels
from lrtrack.reports.table import Cell, Column, Report, Tone
from lrtrack.reports.table import rows_of as cells_of
from lrtrack.schedules.schedule import DECLARED
from lrtrack.stats import mode_of, summarise
from lrtrack.stats.diagnose import diagnoses_of

#: Attributes of few runs.
RARE = (
    "prefix", "rewound", "parent", "branched_at", "lr_metric", "seed_field", "total_steps",
)  # fmt: skip


@dataclass(frozen=True)
class RunRow:
    """One run, as `lrtrack runs` lists it.

    Attributes:
        id: lrtrack's own run id.
        tracker_id: the run's id in its tracker; equal to `id` if the tracker has no other.
        final: mean of the last 5 % of the metric's records; None if the run diverged or lacks the
            metric, and for range tests, whose loss rises at the end by design.
        kind: `train`, or `find` for a learning-rate range test.
        suggestion: the learning rate that a range test suggests.
        diagnoses: mappings with the keys `code`, `message` and `hint`.
        prefix: what stands before the names of the run's metrics.
        source: where the schedule comes from: `declared` or `inferred`.
        rewound: the steps that returns to earlier ones have abandoned, such as `200-249`.
        parent: the id of the run that this one branched off, in its tracker.
        branched_at: the first step of its own.
        lr_metric: the metric that was taken as the learning rate, if lrtrack did not record it.
        seed_field: the setting that was taken as the seed, if lrtrack did not record it.
        logged: whether the run was logged without lrtrack.
        total_steps: how many steps the training will make; None if that is unknown.
        reached: the steps that it has made, also where not all of them are recorded.
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
    prefix: str = ""
    source: str = DECLARED
    rewound: str = ""
    parent: str | None = None
    branched_at: int | None = None
    lr_metric: str | None = None
    seed_field: str | None = None
    logged: bool = False
    total_steps: int | None = None
    reached: int = 0

    def to_dict(self) -> dict[str, JSON]:
        """A strict-JSON mapping, with what few runs have only where this one has it."""
        data = dict(plain(asdict(self)))
        del data["reached"]
        if not data.pop("logged"):
            return {k: v for k, v in data.items() if k not in RARE or v not in ("", None)}
        guesses = ("lr_metric", "seed_field")  # shown where nothing was found, too
        return {
            k: v for k, v in data.items() if k not in RARE or k in guesses or v not in ("", None)
        }


def rows_of(histories: Sequence[History], metric: str) -> list[RunRow]:
    """One row per history, in the same order."""
    return [_row(history, metric) for history in histories]


def runs_report(histories: Sequence[History], experiment: str | None, metric: str) -> Report:
    """Build the report that lists the runs, in the given order."""
    rows = rows_of(histories, metric)
    short = short_labels((item.run.schedule.label, item.run.schedule) for item in histories)
    failed = sum(row.state == State.FAILED for row in rows)
    running = sum(row.state == State.RUNNING for row in rows)
    diverged = sum(row.diverged for row in rows)
    counts = [
        f"{many} {word}"
        for many, word in ((running, "running"), (failed, "failed"), (diverged, "diverged"))
        if many
    ]
    columns = _columns(
        metric,
        short,
        diagnosed=any(row.diagnoses for row in rows),
        prefixed=any(row.prefix for row in rows),
        logged=any(row.logged for row in rows),
    )
    return Report(
        title=clean(" · ".join(filter(None, [experiment, count(len(rows), "run")]))),
        headline=f"{', '.join(counts) or 'All finished'}{_everywhere(rows)}.",
        columns=columns,
        rows=cells_of(columns, rows),
        shortened="Shortened to fit: --format csv or json has everything.",
        diagnoses=lines(
            (
                {**diagnosis, "run_id": row.id, "prefix": row.prefix}
                for row in rows
                for diagnosis in row.diagnoses
            ),
            {(row.id, row.prefix): clean(short[row.schedule]) for row in rows},
        ),
    )


def _everywhere(rows: Sequence[RunRow]) -> str:
    """The device if all runs share it: a narrow table has no room to repeat it."""
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
        prefix=run.prefix,
        source=run.schedule.source,
        rewound=abandoned(run.rewinds),
        parent=run.parent,
        branched_at=run.branched_at,
        lr_metric=None if history.guesses is None else history.guesses.rate,
        seed_field=None if history.guesses is None else history.guesses.seed,
        logged=history.guesses is not None,
        total_steps=run.total_steps,
        reached=int(history.steps.max()) + 1 if history.steps.size else 0,
    )


def _diagnosed(row: RunRow) -> Cell:
    listed = codes(row.diagnoses)
    return Cell(listed or NONE, tone=Tone.BAD if listed else Tone.FAINT)


def _tested(row: RunRow) -> Cell:
    """The schedule cell of a range test: the learning rate that it suggests."""
    return Cell("LR finder" + ("" if row.suggestion is None else f" → {number(row.suggestion)}"))


def _columns(
    metric: str, short: Mapping[str, str], *, diagnosed: bool, prefixed: bool, logged: bool
) -> tuple[Column, ...]:
    """The columns of the list; `short` maps a schedule's label to its short form."""

    def schedule(row: RunRow) -> Cell:
        if row.kind == FIND:
            return _tested(row)
        return Cell(clean(row.schedule), clean(short[row.schedule]))

    def faint(text: str) -> Cell:
        return Cell(clean(text), tone=Tone.FAINT)

    return (
        Column("run", lambda row: Cell(clean(row.name)), number=False),
        *([Column("prefix", lambda row: Cell(clean(row.prefix)), number=False, whole=True)]
          if prefixed else []),
        Column("schedule", schedule, number=False),
        Column("seed", lambda row: Cell(NONE if row.seed is None else str(row.seed)), weight=3),
        *([Column("rate, seed", _taken, number=False)] if logged else []),
        Column("device", lambda row: Cell(clean(row.device)), number=False, weight=4, whole=True),
        Column("state", _state, number=False, whole=True),
        Column("steps", _steps, weight=2),
        Column(f"final {clean(metric)}", _final),
        *([Column("diagnoses", _diagnosed, number=False, weight=1, whole=True)]
          if diagnosed else []),
        Column("tracker", lambda row: faint(row.tracker), number=False, weight=5, whole=True),
        Column("id", lambda row: faint(row.tracker_id), number=False, weight=6, whole=True),
    )  # fmt: skip


def _steps(row: RunRow) -> Cell:
    known = row.total_steps is not None
    return Cell(f"{row.reached}/{row.total_steps}" if known else str(row.steps))


def _taken(row: RunRow) -> Cell:
    """The metric and the setting that were taken as the learning rate and the seed."""
    if not row.logged:
        return Cell(NONE, tone=Tone.FAINT)
    return Cell(clean(f"{row.lr_metric or NONE}, {row.seed_field or NONE}"), tone=Tone.FAINT)


def _state(row: RunRow) -> Cell:
    tones = {State.FAILED: Tone.BAD, State.FINISHED: Tone.PLAIN}
    return Cell(row.state.lower(), tone=tones.get(State(row.state), Tone.GOOD))


def _final(row: RunRow) -> Cell:
    return Cell("diverged", tone=Tone.BAD) if row.diverged else Cell(number(row.final))
