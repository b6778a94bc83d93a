"""What waits for the file: what is dropped where it is too much, and when it gives way."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lrtrack.errors import JournalError
from lrtrack.journal import open_file
from lrtrack.journal import writer as writer_module
from lrtrack.journal.frame_queue import FrameQueue
from lrtrack.journal.framing import PREAMBLE
from lrtrack.journal.open_file import opened
from lrtrack.journal.row_queue import RowQueue
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Rewind


def rows_left(rows: int, values: int) -> list[Any]:
    """The steps of four rows of two values, and a rewind, that are left after some are dropped."""
    queue = RowQueue(None, None, lambda: None, lambda *_: None)
    for step in range(4):
        queue.append((step, 0.0, {"a": 1.0, "b": 2.0}))
        if step == 0:
            queue.rewind(Rewind(0, 0, 0.0))
    assert (len(queue), queue.values) == (5, 8)
    queue.drop_oldest(rows, values)
    return [row[0] if isinstance(row, tuple) else "rewind" for row in queue._rows]


def test_the_oldest_rows_are_dropped() -> None:
    """Rows go until so many rows and values are gone, and rewinds stay."""
    assert rows_left(0, 0) == [0, "rewind", 1, 2, 3]
    assert rows_left(1, 0) == ["rewind", 1, 2, 3]
    assert rows_left(2, 0) == ["rewind", 2, 3]
    assert rows_left(0, 1) == ["rewind", 1, 2, 3]
    assert rows_left(0, 2) == ["rewind", 1, 2, 3]
    assert rows_left(0, 3) == ["rewind", 2, 3]
    assert rows_left(1, 5) == ["rewind", 3]
    assert rows_left(-5, -5) == [0, "rewind", 1, 2, 3]
    assert rows_left(9, 0) == ["rewind"]


def frames_left(rows: int, values: int) -> tuple[list[bytes], tuple[int, int]]:
    """The frames that are left after some are dropped, and how much is left to drop."""
    queue = FrameQueue(SimpleNamespace(), None, lambda *_: None)  # type: ignore[arg-type]
    for name, steps in (("a", 2), ("event", 0), ("b", 3), ("c", 1)):
        frame = name.encode().ljust(24 if steps else 80)
        queue.add(frame, np.arange(steps))
    assert (len(queue), queue.values) == (6, 9)
    left = queue.drop_oldest(rows, values)
    return [waiting.frame.strip() for waiting in queue._frames], left


def test_the_oldest_frames_are_dropped() -> None:
    """Frames of rows go until so many rows and values are gone, and events stay."""
    assert frames_left(0, 0) == ([b"a", b"event", b"b", b"c"], (0, 0))
    assert frames_left(1, 0) == ([b"event", b"b", b"c"], (0, 0))
    assert frames_left(2, 3) == ([b"event", b"b", b"c"], (0, 0))
    assert frames_left(3, 0) == ([b"event", b"c"], (0, 0))
    assert frames_left(0, 4) == ([b"event", b"c"], (0, 0))
    assert frames_left(8, 11) == ([b"event"], (2, 2))


def test_when_the_writer_gives_way(
    writer: Callable[..., JournalWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer pauses between the parts of its own upkeep, and never while another one waits."""
    monkeypatch.setattr(writer_module, "PERIOD", 1e6)
    pauses: list[float] = []
    clock = SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=pauses.append)
    monkeypatch.setattr(writer_module, "time", clock)
    journal = writer()
    journal.append(0, 1.0, {"loss": 1.0})
    journal.flush()
    assert pauses == []

    journal.append(1, 1.0, {"loss": 1.0})
    journal._ask(journal._upkeep)
    assert set(pauses) == {0.002}
    assert journal._thread.daemon


def test_a_disk_without_room_for_the_first_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where not even the first line fits, no file is left behind."""
    path, write = tmp_path / "a.journal", open_file.os.write
    with monkeypatch.context() as patch, pytest.raises(JournalError, match="No space left"):
        patch.setattr(open_file.os, "write", lambda file, data: write(file, data[:5]))
        opened(path)
    assert not path.exists()

    path.write_bytes(PREAMBLE[:5])  # by a writer that was killed
    file, fresh = opened(path)
    file.close()
    assert (fresh, path.read_bytes()) == (True, PREAMBLE)


def test_a_journal_that_another_process_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer waits a second for another process' look at the lock, and then gives up."""
    times, pauses = iter([10.0, 11.0, 11.001]), []
    file, _ = opened(tmp_path / "a.journal")
    clock = SimpleNamespace(monotonic=lambda: next(times), sleep=pauses.append)
    monkeypatch.setattr(open_file, "time", clock)

    with pytest.raises(JournalError, match="another process is writing"):
        opened(tmp_path / "a.journal")
    assert pauses == [0.01]
    file.close()


def finished(steps: int, *, refuses: bool) -> list[str]:
    """What is said at the end of a run of which so many steps wait, without another disk."""
    said: list[str] = []

    def append(frame: bytes) -> None:
        if refuses:
            raise OSError("no room")

    file = SimpleNamespace(path="a.journal", append=append)
    queue = FrameQueue(file, None, lambda _, text: said.append(text))  # type: ignore[arg-type]
    if steps:
        queue.add(b"frame", np.arange(steps))
        queue.push()
    queue.finish(b"end")
    return said[1:] if refuses and steps else said


def test_what_is_lost_at_the_end() -> None:
    """Steps that no disk took are counted at the end; where all were written, nothing is said."""
    lost = "lrtrack lost {}: the last steps of a.journal could not be written."

    assert finished(0, refuses=True) == []
    assert finished(2, refuses=False) == []
    assert [text for text in finished(1, refuses=True) if "lost" in text] == [lost.format("1 step")]
    assert [text for text in finished(2, refuses=True) if "lost" in text] == [
        lost.format("2 steps")
    ]
