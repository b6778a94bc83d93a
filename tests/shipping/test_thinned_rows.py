"""Thinned rows of a delivery: the same ones after any failure, and every step in the file."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

import lrtrack
from lrtrack.errors import TrackerUnavailable
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Rewind, Run, State, StepRecord, Target
from lrtrack.shipping import batch
from lrtrack.shipping.cursor import Cursor
from lrtrack.shipping.delivery import Delivery
from lrtrack.stats.row_budget import RowBudget
from lrtrack.stats.thinning import Thinner
from lrtrack.trackers.base import RowAdvice
from lrtrack.trackers.memory import MemorySink, MemoryTracker

ADVICE = RowAdvice(60, 1_000, "Too many rows. Fix: thin them.")
STEPS = 900


class Charts(MemoryTracker):
    """A tracker with advice about rows, some of whose writes fail.

    Attributes:
        sent: the rows of each write that was stored.
        before: the writes that fail before anything is stored; after: those that fail afterwards.
    """

    row_advice = ADVICE

    def __init__(self, before: set[int] = frozenset(), after: set[int] = frozenset()) -> None:
        super().__init__()
        self.sent: list[list[StepRecord]] = []
        self.writes = 0
        self.before, self.after = before, after

    def sink(self, run: Run, target: Target, remote_id: str | None) -> MemorySink:
        return ChartSink(self, run, target)

    def steps(self) -> list[int]:
        """The steps that are stored, in order of their arrival."""
        (stored,) = self.stored.values()
        return list(stored.steps)


class ChartSink(MemorySink):
    """Stores rows as `Charts` says."""

    def write(self, records: Sequence[StepRecord], doubt: bool) -> None:
        charts: Any = self._tracker
        charts.writes += 1
        if charts.writes in charts.before:
            raise TrackerUnavailable("not stored")
        super().write(records, doubt)
        charts.sent.append(list(records))
        if charts.writes in charts.after:
            raise TrackerUnavailable("stored, but the answer is lost")


def record_of(step: int) -> StepRecord:
    """A step of a training that makes a thousand steps a second."""
    loss = math.nan if step == 700 else 2.0 + math.sin(step * step)
    return StepRecord(step, 1e9 + step / 1000, {"lr": 1.0 / (1 + step), "loss": loss})


def write(layout: Layout, steps: range, state: State | None, *, thin: bool = True) -> Run:
    """Append steps to the run's journal, with a flush and a value that is added to a step."""
    target = Target("memory", experiment="e", portable=False, thin=thin)
    run = Run("c" * 32, "thinned", started=1e9, targets=(target,))
    writer = JournalWriter(layout.journal(run.id), run)
    for step in steps:
        record = record_of(step)
        writer.append(step, record.time, dict(record.metrics))
        if step == 300:
            writer.append(step, record.time, {"val_loss": 0.5})
            writer.event("flush")
            writer.flush()
    if state is None:
        writer.flush()
        writer.release()
    else:
        writer.close(state)
    return run


def expected(ends: Sequence[int]) -> list[int]:
    """The steps whose rows are sent if stretches also end after each step of `ends`."""
    thinner, rows = Thinner(RowBudget(ADVICE.per_minute, ADVICE.per_run)), []
    for step in range(STEPS):
        rows += thinner.add(record_of(step))
        if step == 300:
            thinner.add(StepRecord(step, record_of(step).time, {"val_loss": 0.5}))
        if step in ends:
            rows += thinner.end()
    return [row.step for row in rows]


def deliver(layout: Layout, run: Run, charts: Charts, *, anew: bool = False) -> Cursor:
    """Deliver until the run is closed; `anew` by another process after each failure."""
    delivery = Delivery(layout, run.id, run.targets[0], charts)
    while not delivery.complete:
        try:
            delivery.advance()
        except TrackerUnavailable:
            if anew:
                delivery = Delivery(layout, run.id, run.targets[0], charts)
    return delivery.cursor


@pytest.fixture
def layout(clean_place: Path) -> Layout:
    """An empty journal directory."""
    layout = Layout(clean_place / ".lrtrack")
    layout.create()
    return layout


@pytest.mark.parametrize("size", [7, 1000])
@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize("lost", ["before", "after", "nothing"])
def test_failures_change_no_row(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, size: int, anew: bool, lost: str
) -> None:
    """Whatever the batches, the failures and the processes: the same rows, and all in the file."""
    monkeypatch.setattr(batch, "BATCH", size)
    run = write(layout, range(STEPS), State.FINISHED)
    failing = {lost: set(range(1, 100, 3))} if lost != "nothing" else {}
    charts = Charts(**failing)
    deliver(layout, run, charts, anew=anew)
    (stored,) = charts.stored.values()
    assert stored.uploaded is not None
    table = pq.read_table(io.BytesIO(stored.uploaded))

    assert charts.steps() == expected([300, STEPS - 1])
    assert table["step"].to_pylist() == list(range(STEPS))
    assert stored.steps[300].metrics["val_loss"] == 0.5
    assert 700 in stored.steps
    assert len(stored.steps) < STEPS / 4


def test_a_flush_sends_everything_before_it(layout: Layout) -> None:
    """After `run.flush()` the tracker has the latest step, and the cursor is at the end."""
    target = Target("memory", experiment="e", portable=False, thin=True)
    run = Run("d" * 32, "open", started=1e9, targets=(target,))
    writer = JournalWriter(layout.journal(run.id), run)
    charts = Charts()
    for step in range(500):
        writer.append(step, record_of(step).time, dict(record_of(step).metrics))
    writer.flush()
    delivery = Delivery(layout, run.id, target, charts)
    delivery.advance()
    before = charts.steps()[-1], delivery.cursor.offset < delivery.extent()[0]
    writer.event("flush")
    writer.flush()
    delivery.advance()
    after = charts.steps()[-1], delivery.cursor.offset < delivery.extent()[0]
    writer.close(State.FINISHED)

    assert before[0] < 499
    assert (before[1], after) == (True, (499, False))


@pytest.mark.parametrize("anew", [False, True])
def test_a_run_that_was_killed_and_resumed(layout: Layout, anew: bool) -> None:
    """The last step of a killed training is sent, and a resumed one goes on from there."""
    charts = Charts()
    run = write(layout, range(500), None)
    deliver(layout, run, charts)
    killed = charts.steps()[-1]
    write(layout, range(500, STEPS), State.FINISHED)
    deliver(layout, run, charts, anew=anew)
    fresh = Charts()
    layout.cursor(run.id, "memory").unlink()
    deliver(layout, run, fresh)

    assert killed == 499
    assert charts.steps() == expected([300, 499, STEPS - 1])
    assert fresh.steps() == charts.steps()


@pytest.mark.parametrize("size", [7, 1000])
@pytest.mark.parametrize("lost", ["before", "after", "nothing"])
def test_a_return_to_an_earlier_step(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, size: int, lost: str
) -> None:
    """A return ends a stretch: of its rows, those before the abandoned steps are sent."""
    monkeypatch.setattr(batch, "BATCH", size)
    target = Target("memory", experiment="e", portable=False, thin=True)
    run = Run("f" * 32, "returned", started=1e9, targets=(target,))
    writer = JournalWriter(layout.journal(run.id), run)
    thinner = Thinner(RowBudget(ADVICE.per_minute, ADVICE.per_run))
    rows: list[StepRecord] = []
    for begin, end in ((0, 600), (400, 700)):
        for step in range(begin, end):
            record = StepRecord(step, record_of(step + 600 * (begin > 0)).time, {"loss": step % 9})
            writer.append(step, record.time, dict(record.metrics))
            rows += thinner.add(record)
        rows += thinner.end()
        if not begin:
            writer.rewind(Rewind(400, 599, record_of(599).time + 0.0005))
            rows = [row for row in rows if row.step < 400]
    writer.close(State.FINISHED)
    charts = Charts(**({lost: set(range(1, 100, 2))} if lost != "nothing" else {}))
    deliver(layout, run, charts, anew=True)
    (stored,) = charts.stored.values()
    assert stored.uploaded is not None
    table = pq.read_table(io.BytesIO(stored.uploaded))

    assert sorted(charts.steps()) == [row.step for row in rows]
    assert table["step"].to_pylist() == list(range(700))


def test_all_rows_with_a_note(layout: Layout) -> None:
    """Without thinning every row is sent, and a run past the advice has the tracker's note."""
    run = write(layout, range(STEPS), State.FINISHED, thin=False)
    charts = Charts()
    cursor = deliver(layout, run, charts, anew=True)

    assert charts.steps() == list(range(STEPS))
    assert cursor.note == ADVICE.note


def test_few_rows_without_a_note(layout: Layout) -> None:
    """A minute's rows are no reason for a note."""
    run = write(layout, range(60), State.FINISHED, thin=False)

    assert deliver(layout, run, Charts()).note is None


def training(**options: Any) -> Run:
    """Record 200 steps of a block with these options; returns its run."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)
    with lrtrack.track(optimizer, flush_timeout=300.0, **options):
        for _ in range(200):
            optimizer.step()
    (journal,) = Path(".lrtrack").rglob("*.journal")
    return JournalReader(journal).run


@pytest.mark.parametrize(
    ("argument", "variable", "is_thin"),
    [(None, "", False), (None, "thin", True), ("all", "thin", False), ("thin", "all", True)],
)
def test_the_option_of_a_block(
    clean_place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argument: str | None,
    variable: str,
    is_thin: bool,
) -> None:
    """The argument counts before the environment; a block with all rows prints the note once."""
    monkeypatch.setenv("LRTRACK_WANDB_ROWS", variable)
    charts = Charts()
    run = training(tracker=charts, wandb_rows=argument)

    assert [target.thin for target in run.targets] == [is_thin]
    assert (len(charts.steps()) < 200) == is_thin
    assert capsys.readouterr().err.count(ADVICE.note) == (0 if is_thin else 1)


def test_a_tracker_without_advice_gets_all_rows(clean_place: Path) -> None:
    """The option changes nothing for a tracker whose charts take any number of rows."""
    tracker = MemoryTracker()
    run = training(tracker=tracker, wandb_rows="thin")
    (stored,) = tracker.stored.values()

    assert [target.thin for target in run.targets] == [False]
    assert list(stored.steps) == list(range(200))
