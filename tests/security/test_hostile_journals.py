"""Journals made to take a reader's time or memory: both stay in proportion to the file."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lrtrack
from lrtrack.errors import LRTrackWarning
from lrtrack.journal import course, framing, history_table
from lrtrack.journal.arrow_arrays import arrow_of
from lrtrack.journal.course import course_of
from lrtrack.journal.events import Entry, event_frame, understood
from lrtrack.journal.framing import MAGIC, Kind, decode, encode
from lrtrack.journal.layout import Layout
from lrtrack.journal.step_rows import columns_of, encode_rows


def rows(steps: list[int], times: list[float] | None = None) -> bytes:
    """A frame of rows whose loss is 7."""
    times = times or [100.0 + step for step in steps]
    return encode_rows(
        *columns_of([(s, t, {"loss": 7.0}) for s, t in zip(steps, times, strict=True)], None)
    )


def test_frames_within_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of claimed frames that overlap are summed up five times, not once for each."""
    summed: list[int] = []
    checksum = framing._crc
    sound = encode(Kind.EVENT, b"sound")

    def counted(kind: int, payload: bytes | memoryview) -> int:
        summed.append(len(payload))
        return checksum(kind, payload)

    monkeypatch.setattr(framing, "_crc", counted)
    claim = struct.pack("<4sBII", MAGIC, 2, 30_000, 0)
    data = sound + claim * 5_000

    assert [frame.payload for frame in decode(data)] == [b"sound"]
    assert len(data) < sum(summed) <= 5 * len(data) + 30_000


def test_damaged_frames_one_after_another() -> None:
    """However many frames are damaged, each intact one among them is read."""
    good = encode(Kind.EVENT, b"x" * 500)
    bad = good[:-1] + b"y"
    data = (bad * 50 + good) * 20

    assert [frame.start for frame in decode(data)] == [
        (51 * at + 50) * len(good) for at in range(20)
    ]


def descending(count: int) -> Iterator[Entry]:
    """Rows of `count` steps, then a return to each of them, from the last one to step 1."""
    frames = [rows(list(range(count)))]
    frames += [
        event_frame("rewind", {"step": step, "last": count}, 1000.0 + count - step)
        for step in range(count - 1, 0, -1)
    ]
    for frame in decode(b"".join(frames)):
        entry = understood(frame)
        assert entry is not None
        yield entry


def test_a_return_to_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand returns copy a run's rows a few times, not a thousand times."""
    cuts: list[int] = []
    before = course.before

    def counted(batches: list[pa.RecordBatch], step: int) -> Iterator[pa.RecordBatch]:
        cuts.append(sum(map(len, batches)))
        return before(batches, step)

    monkeypatch.setattr(course, "before", counted)
    assert course_of(descending(1_000)).table["step"].to_pylist() == [0]
    assert sum(cuts) == 1_000


def test_returns_are_applied_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that goes back a hundred times keeps at most twice the rows that survive."""
    monkeypatch.setattr(course, "_PENDING", 10)
    collected = course.SurvivingRows()
    most = 0
    columns = [arrow_of(np.arange(10)), arrow_of(np.ones(10)), arrow_of(np.ones(10))]
    batch = pa.record_batch(columns, names=["step", "time", "loss"])
    for _ in range(100):
        collected.add(batch)
        most = max(most, sum(map(len, collected._batches)))
        collected.rewind(2)

    assert [len(batch) for batch in collected.batches()] == [2] * 100
    assert most < 2 * 200 + 2 * 10


@pytest.mark.parametrize(
    ("steps", "times"),
    [([3, 2**63 - 1], [103.0, 104.0]), ([3, 4], [103.0, 1e300]), ([3, 4], [103.0, -1e300])],
    ids=["a step", "a time", "a negative time"],
)
def test_rows_that_no_training_made(
    journalled, layout: Layout, steps: list[int], times: list[float]
) -> None:
    """A row at an impossible step or time is left out, its journal is named, and others stay."""
    odd, sound = journalled(0, "odd"), journalled(1, "sound")
    with layout.journal(odd).open("ab") as file:
        file.write(rows(steps, times))
    with pytest.warns(LRTrackWarning, match=rf"make no sense: a row of .*{odd}\.journal"):
        histories = lrtrack.histories("hostile", tracker="local", directory=layout.root)

    assert {history.id: history.steps.tolist() for history in histories} == {
        odd: [0, 1, 2, 3], sound: [0, 1, 2],
    }  # fmt: skip


def test_a_journal_with_new_names_in_each_step(
    journalled, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where most cells are empty, the first metrics are read, the journal is named, and other runs
    are read as a whole.
    """
    odd, sound = journalled(0, "odd"), journalled(1, "sound")
    with layout.journal(odd).open("ab") as file:
        for at in range(20):
            file.write(encode_rows(*columns_of([(3 + at, 103.0 + at, {f"n{at}": 1.0})], None)))
    monkeypatch.setattr(history_table, "CELLS", 100)
    monkeypatch.setattr(history_table, "SPARSE", 2)
    with pytest.warns(LRTrackWarning, match=rf"{odd}\.journal: 14 of its 22 metrics, .*left out"):
        histories = lrtrack.histories("hostile", tracker="local", directory=layout.root)

    # 23 rows with 72 values may have 100 + 2 · 72 cells: 10 columns.
    assert {history.id: list(history.metrics) for history in histories} == {
        odd: ["loss", "lr", *(f"n{at}" for at in range(6))], sound: ["loss", "lr"],
    }  # fmt: skip
    assert all(history.steps[-1] in (2, 22) for history in histories)


@pytest.mark.parametrize(("step", "time"), [(2**62, 102.0), (2, 1e300), (2, -1.0)])
def test_a_columnar_file_of_impossible_rows(tmp_path, step: int, time: float) -> None:
    """A columnar file with a step or time that no training has is refused as a whole."""
    path = tmp_path / "history.parquet"
    pq.write_table(pa.table({"step": [0, 1, step], "time": [100.0, 101.0, time]}), path)

    with pytest.raises(ValueError, match="steps or times that no training has"):
        history_table.read_parquet(path)
