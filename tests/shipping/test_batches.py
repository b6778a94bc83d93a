"""Batches of a delivery hold so many steps and so many values, whatever the journal's frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lrtrack.journal.reader import JournalReader
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, StepRecord
from lrtrack.shipping import batch
from lrtrack.shipping.cursor import Cursor

RUN = Run("b" * 32, "wide")


@pytest.fixture
def reader(tmp_path: Path) -> JournalReader:
    """A journal of 30 steps of 98 metrics in three frames, with an event and an amendment."""
    path = tmp_path / f"{RUN.id}.journal"
    writer = JournalWriter(path, RUN)
    for step in range(30):
        writer.append(step, float(step), {f"m{index}": float(step) for index in range(98)})
        if step == 9:
            writer.flush()
        if step == 19:
            writer.event("flush")
            writer.amend(19, 19.0, {"val_loss": 0.5})
    writer.close(State.FINISHED)
    return JournalReader(path)


def batches(reader: JournalReader) -> list[list[StepRecord]]:
    """Everything in the journal, one batch after another, as a delivery takes it."""
    taken, cursor, more = [], Cursor(), True
    while more:
        part = batch.take(reader, cursor, alive=False)
        more, (offset, skip) = part.more, part.after
        assert not more or (offset, skip) > (cursor.offset, cursor.skip)
        cursor = replace(cursor, offset=offset, skip=skip)
        taken.append(part.records)
    assert cursor.offset == reader.size()
    return taken


@pytest.mark.parametrize(
    ("steps", "values", "largest"), [(1000, 700, 7), (4, 10**6, 4), (4, 300, 3), (1000, 1, 1)]
)
def test_no_batch_is_larger(
    reader: JournalReader,
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
    values: int,
    largest: int,
) -> None:
    """Each step is taken once and in order, and no batch has more than the steps that fit."""
    monkeypatch.setattr(batch, "BATCH", steps)
    monkeypatch.setattr(batch, "VALUES", values)
    parts = batches(reader)
    records = [record for part in parts for record in part]
    whole = {record.step: {} for record in records}
    for record in records:
        whole[record.step] |= record.metrics

    assert max(map(len, parts)) == largest
    assert list(whole) == list(range(30))
    assert [len(metrics) for metrics in whole.values()] == [98] * 19 + [99] + [98] * 10


def test_ordinary_steps_fill_a_batch(reader: JournalReader) -> None:
    """Where the values are few, one batch takes all steps."""
    assert [len(part) for part in batches(reader)] == [30]
