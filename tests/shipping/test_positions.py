"""Where the cursor stands after each batch, in the journal of a running and of an ended run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lrtrack.journal.reader import JournalReader
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Rewind, Run, StepRecord
from lrtrack.shipping import batch
from lrtrack.shipping.batch import Batch, take
from lrtrack.shipping.cursor import Cursor

RUN = Run("b" * 32, "r")
METRICS = {"lr": 0.5, "loss": 1.0}


@pytest.fixture
def writer(tmp_path: Path) -> JournalWriter:
    """The journal of a running run, which begins with frame 0, that of its identity."""
    return JournalWriter(tmp_path / f"{RUN.id}.journal", RUN)


def rows(writer: JournalWriter, *steps: int) -> None:
    """Writes a frame with these steps."""
    for step in steps:
        writer.append(step, float(step), METRICS)
    writer.flush()


@pytest.fixture
def reader(writer: JournalWriter) -> JournalReader:
    """Frame 1 has the steps 0, 1, 2; 2 has 3; 3 is a flush; 4 adds to 3 and has 4; 5 has 5."""
    rows(writer, 0, 1, 2)
    rows(writer, 3)
    writer.event("flush")
    writer.flush()
    writer.amend(3, 3.0, {"val": 0.5})
    rows(writer, 4)
    rows(writer, 5)
    writer.release()
    return JournalReader(writer.path)


def frames(reader: JournalReader, taken: Batch) -> list[tuple[int, int]]:
    """The positions of a batch, as the number of a frame and the rows of it that were taken."""
    numbers = {entry.start: number for number, entry in enumerate(reader.entries())}
    numbers[reader.size()] = len(numbers)
    return [(numbers[offset], skip) for offset, skip in taken.positions]


def after(cursor: Cursor, taken: Batch) -> Cursor:
    """The cursor behind a batch."""
    return replace(cursor, offset=taken.after[0], skip=taken.after[1])


def test_all_of_a_run_that_is_over(reader: JournalReader) -> None:
    """Each record has its position; the last of a frame has that of the next rows."""
    taken = take(reader, Cursor(), alive=False)
    steps = [part.step for part in taken.parts]

    assert steps == [0, 1, 2, 3, 3, 4, 5]
    assert frames(reader, taken) == [(1, 1), (1, 2), (2, 0), (4, 0), (4, 1), (5, 0), (6, 0)]
    assert (taken.before, taken.after, taken.more) == ((0, 0), (reader.size(), 0), False)
    assert (taken.breaks, taken.abandoned, taken.rewind, taken.news) == ((4,), None, None, False)
    assert taken.records[3] == StepRecord(3, 3.0, {**METRICS, "val": 0.5})
    assert [record.step for record in taken.records] == [0, 1, 2, 3, 4, 5]


def test_the_last_step_of_a_running_run_waits(reader: JournalReader) -> None:
    """Only the last step is held back, with all of its parts."""
    taken = take(reader, Cursor(), alive=True)

    assert [part.step for part in taken.parts] == [0, 1, 2, 3, 3, 4]
    assert frames(reader, taken)[-1] == (5, 0)
    assert taken.after == taken.positions[-1]
    assert not taken.more


def test_nothing_but_a_step_that_may_change(writer: JournalWriter) -> None:
    """The cursor of a run in its first step goes no further than the identity."""
    rows(writer, 0)
    reader = JournalReader(writer.path)
    identity = next(reader.entries())
    taken = take(reader, Cursor(), alive=True)
    writer.amend(0, 0.0, {"val": 0.5})
    writer.flush()
    again = take(reader, Cursor(), alive=True)
    writer.event("flush")
    writer.flush()
    flushed = take(reader, Cursor(), alive=True)
    writer.release()

    assert (taken.parts, taken.after, taken.more) == ([], (identity.end, 0), False)
    assert (again.parts, again.after) == ([], (identity.end, 0))
    assert flushed.records == [StepRecord(0, 0.0, {**METRICS, "val": 0.5})]
    assert flushed.after == (reader.size(), 0)


@pytest.mark.parametrize(
    ("most", "sizes"),
    [(1, [1] * 7), (2, [2, 2, 2, 1]), (3, [3, 3, 1]), (6, [6, 1]), (7, [7]), (8, [7])],
)
def test_batches_of_so_many_records(
    reader: JournalReader, monkeypatch: pytest.MonkeyPatch, most: int, sizes: list[int]
) -> None:
    """Batches follow each other without a gap, and only the last one has nothing after it."""
    monkeypatch.setattr(batch, "BATCH", most)
    cursor, taken = Cursor(), []
    for _ in sizes:
        taken.append(take(reader, cursor, alive=False))
        assert taken[-1].before == (cursor.offset, cursor.skip)
        cursor = after(cursor, taken[-1])

    assert [len(each.parts) for each in taken] == sizes
    assert [part.step for each in taken for part in each.parts] == [0, 1, 2, 3, 3, 4, 5]
    assert [each.more for each in taken] == [*[True] * (len(sizes) - 1), False]
    assert (cursor.offset, cursor.skip) == (reader.size(), 0)


@pytest.mark.parametrize(
    ("values", "sizes"),
    [
        (12, [3, 2, 2]),  # rows of four values, and two of five
        (8, [2, 2, 1, 1, 1]),
        (1, [1] * 7),
    ],
)
def test_batches_of_so_many_values(
    reader: JournalReader, monkeypatch: pytest.MonkeyPatch, values: int, sizes: list[int]
) -> None:
    """A batch ends before the row with which it would have too many values; one always fits."""
    monkeypatch.setattr(batch, "VALUES", values)
    cursor, found = Cursor(), []
    while cursor.offset < reader.size():
        taken = take(reader, cursor, alive=False)
        found.append(len(taken.parts))
        cursor = after(cursor, taken)

    assert found == sizes


def test_the_records_before_a_return(writer: JournalWriter) -> None:
    """Abandoned steps are left out; the return comes alone, and then what follows it."""
    rows(writer, 0, 1, 2)
    writer.rewind(Rewind(1, 2, 9.0))
    rows(writer, 1)
    writer.release()
    reader = JournalReader(writer.path)
    first = take(reader, Cursor(), alive=False)
    second = take(reader, after(Cursor(), first), alive=False)
    third = take(reader, after(Cursor(), second), alive=False)
    _, _, event, _ = reader.entries()

    assert [part.step for part in first.parts] == [0, 1, 2]
    assert [record.step for record in first.records] == [0]
    assert (first.after, first.more, first.abandoned) == ((event.start, 0), True, 1)
    assert (first.rewind, first.news) == (None, False)
    assert (second.parts, second.after, second.more) == ([], (event.end, 0), True)
    assert (second.rewind, second.abandoned, second.news) == (Rewind(1, 2, 9.0), None, False)
    assert [record.step for record in third.records] == [1]
    assert not third.more


def test_news_of_a_run(writer: JournalWriter) -> None:
    """What has become known of a run comes after the records before it, without any records."""
    rows(writer, 0, 1)
    writer.event("diagnoses", diagnoses=[])
    writer.release()
    reader = JournalReader(writer.path)
    first = take(reader, Cursor(), alive=True)
    second = take(reader, after(Cursor(), first), alive=True)

    assert ([part.step for part in first.parts], first.news, first.more) == ([0, 1], False, True)
    assert (second.parts, second.news, second.more, second.rewind) == ([], True, True, None)
    assert second.after == (reader.size(), 0)
