"""Rows of thousands of metrics, or with new names at each step: files and memory follow values."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrtrack.journal import course as course_module
from lrtrack.journal import writer as writer_module
from lrtrack.journal.course import merge
from lrtrack.journal.frame_queue import FrameQueue
from lrtrack.journal.journal_file import JournalFile
from lrtrack.journal.reader import JournalReader
from lrtrack.journal.row_queue import RowQueue
from lrtrack.journal.step_rows import columns_of, encode_rows
from lrtrack.records import Rewind

#: The metrics that a row may have, so that any two rows differ in some and share others.
NAMES = st.sets(st.sampled_from([f"m{index}" for index in range(12)]), max_size=6)


@pytest.fixture
def queue() -> RowQueue:
    """A queue of rows of floats."""
    return RowQueue(None, None, lambda: None, lambda *_: None)


@pytest.mark.parametrize("width", [1, 40])
def test_new_names_at_each_step(writer, path, rows, width: int) -> None:
    """A journal whose steps share no name grows with its values, not with their square."""
    count = 2000 // width
    journal = writer()
    for step in range(count):
        journal.append(step, 0.0, {f"m{step}/{index}": 1.0 for index in range(width)})
    journal.flush()

    assert path.stat().st_size < 1024 * 2000
    assert rows(path) == {
        step: (0.0, {f"m{step}/{index}": 1.0 for index in range(width)}) for step in range(count)
    }


def test_narrow_rows_behind_a_wide_one(queue) -> None:
    """One row with thousands of metrics does not make those behind it as wide."""
    queue.append((0, 0.0, {f"m{index}": 0.0 for index in range(5000)}))
    for step in range(1, 3000):
        queue.append((step, 0.0, {"loss": 0.0}))
    frames = list(queue.take(4096, 2**20))

    assert sum(len(frame) for frame, _ in frames) < 16 * (5000 + 3 * 3000) + 512 * 5000
    assert np.concatenate([steps for _, steps in frames]).tolist() == list(range(3000))


def test_ordinary_rows_stay_in_one_frame(queue) -> None:
    """Metrics that come every few steps do not split the frame of the others."""
    for step in range(1000):
        queue.append((step, 0.0, {"loss": 0.0, **({"val_loss": 1.0} if step % 100 == 0 else {})}))

    assert [len(steps) for _, steps in queue.take(4096, 2**20)] == [1000]


def test_the_oldest_rows_go_until_few_values_are_left(queue) -> None:
    """Rows are dropped by the values in them; a return to an earlier step stays."""
    for step, width in enumerate([10, 10, 1, 1]):
        queue.append((step, 0.0, {f"m{index}": 0.0 for index in range(width)}))
        if step == 0:
            queue.rewind(Rewind(0, 0, 1.0))
    before = queue.values
    queue.drop_oldest(rows=0, values=15)
    steps = [steps.tolist() for _, steps in queue.take(10, 10)]

    assert (before, queue.values) == (22, 0)
    assert steps == [[], [2, 3]]


def test_frames_go_before_rows(path) -> None:
    """Frames that wait for a full disk are dropped by their values, oldest first."""
    frames = FrameQueue(JournalFile(path), None, lambda *_: None)
    for step in range(3):
        row = (step, 0.0, {f"m{index}": 0.0 for index in range(1000)})
        steps, *columns = columns_of([row], None)
        frames.add(encode_rows(steps, *columns), steps)
    one = frames.values // 3
    left = frames.drop_oldest(rows=0, values=one + 1)
    more = frames.drop_oldest(rows=5, values=0)
    frames.release()

    assert one >= 1000
    assert (left, more, len(frames)) == ((0, 0), (4, 0), 0)


def test_a_long_outage_of_wide_rows(writer, path, monkeypatch, recwarn) -> None:
    """While the disk is full, memory holds only so many values, whatever the number of steps."""
    monkeypatch.setattr(writer_module, "PERIOD", 60.0)
    monkeypatch.setattr(writer_module, "BACKLOG_VALUES", 250)
    journal = writer()
    monkeypatch.setattr(journal._frames, "push", lambda: False)
    for step in range(10):
        journal.append(step, 0.0, {f"m{index}": 0.0 for index in range(100)})
    journal.flush()

    assert journal._rows.values + journal._frames.values <= 250
    assert ["oldest steps" in str(warning.message) for warning in recwarn] == [True]


@given(names=st.lists(NAMES, min_size=1, max_size=40))
def test_any_names_are_read_back(names: list[set[str]]) -> None:
    """Frames of rows with any names hold each value once, in the rows' order."""
    queue = RowQueue(None, None, lambda: None, lambda *_: None)
    rows = [(step, float(step), dict.fromkeys(sorted(own), 0.5)) for step, own in enumerate(names)]
    for row in rows:
        queue.append(row)
    batches = [_decoded(frame) for frame, _ in queue.take(4, 20)]
    table = merge(batches)

    assert all(len(batch) <= 4 for batch in batches)
    assert all(len(batch) == 1 or batch.num_columns * len(batch) <= 20 for batch in batches)
    assert [
        (row.pop("step"), row.pop("time"), {n: v for n, v in row.items() if v is not None})
        for row in table.to_pylist()
    ] == [tuple(row) for row in rows]


def test_a_sparse_table_takes_little_memory(writer, path, monkeypatch) -> None:
    """The table of a run whose steps share no name is no larger than its values."""
    monkeypatch.setattr(course_module, "_CELLS", 1000)
    journal = writer()
    for step in range(400):
        journal.append(step, 0.0, {f"m{step}": 1.0})
    journal.flush()
    before = pa.total_allocated_bytes()
    table = JournalReader(path).course().table
    allocated = pa.total_allocated_bytes() - before

    assert table.shape == (400, 402)
    assert table["m399"].to_pylist() == [None] * 399 + [1.0]
    assert allocated < 100_000


def test_only_the_first_metrics(writer, path) -> None:
    """A journal that is too large to be read as a whole gives its steps and its first metrics."""
    journal = writer()
    for step in range(3):
        journal.append(step, float(step), {"lr": 0.5, **{f"m{step}/{n}": 1.0 for n in range(50)}})
        journal.flush()
    table = JournalReader(path).course(most=2).table

    assert table.to_pydict() == {
        "step": [0, 1, 2],
        "time": [0.0, 1.0, 2.0],
        "lr": [0.5] * 3,
        "m0/0": [1.0, None, None],
    }


def _decoded(frame: bytes) -> pa.RecordBatch:
    from lrtrack.journal.events import understood
    from lrtrack.journal.framing import decode

    (only,) = decode(frame)
    entry = understood(only)
    assert entry is not None
    return entry.rows
