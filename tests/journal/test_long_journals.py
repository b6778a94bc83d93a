"""What readers of long journals meet: files that vanish meanwhile, and parts of some size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lrtrack.errors import JournalError
from lrtrack.journal import history_parts, segments
from lrtrack.journal.history_parts import HistoryParts
from lrtrack.journal.overflow import Overflow
from lrtrack.journal.packing import pack
from lrtrack.journal.reader import JournalReader
from lrtrack.journal.segments import segments_of
from lrtrack.journal.writer import JournalWriter
from tests.journal.test_segments import write

Writer = Callable[..., JournalWriter]


@pytest.fixture(autouse=True)
def tiny(monkeypatch) -> None:
    """Segments of a few frames each."""
    monkeypatch.setattr(segments, "LIMIT", 3000)


@pytest.mark.parametrize("error", [FileNotFoundError, NotADirectoryError])
def test_a_directory_of_segments_that_is_removed_meanwhile(
    writer: Writer, path: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    """Where the later segments are gone, the first one is all there is."""
    write(writer(), range(30))
    first = segments_of(path)[0]

    def gone(folder: Path) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(segments.os, "scandir", gone)
        assert segments_of(path) == [first]


def test_the_sizes_of_parts(writer: Writer, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part ends with the step before the one that fills it: step, time and loss are 3 values."""
    write(writer(), range(10))
    monkeypatch.setattr(history_parts, "VALUES", 12)

    assert [len(part) for part in HistoryParts(JournalReader(path))] == [3, 3, 3, 1]


def test_a_run_is_continued_in_the_same_files(writer: Writer, path: Path) -> None:
    """A later process begins no file where the last one still has room."""
    first = writer()
    write(first, range(20))
    first.release()
    before = [segment.start for segment in segments_of(path)]
    writer().release()

    assert [segment.start for segment in segments_of(path)] == before


def test_a_run_is_continued_behind_many_packed_segments(writer: Writer, path: Path) -> None:
    """Where the file that was written last is lost, the next one begins where it began."""
    first = writer()
    write(first, range(40))
    first.release()
    *packed, last = segments_of(path)[1:]
    assert len(packed) > 2
    assert all(pack(segment, path) for segment in packed)
    last.path.unlink()
    writer().release()

    assert segments_of(path)[-1].start == last.start


def test_later_files_that_cannot_be_read(
    writer: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal whose later files cannot be opened is not continued, and is left as it is."""
    first = writer()
    write(first, range(20))
    first.release()

    def refuse(journal: Path) -> None:
        raise PermissionError(13, "Permission denied")

    with (
        monkeypatch.context() as patch,
        pytest.raises(JournalError, match=r"cannot write .*denied"),
    ):
        patch.setattr(segments, "segments_of", refuse)
        writer()
    writer().release()


def test_which_steps_are_late() -> None:
    """A step is late after a higher one, or a late one of its own; a return abandons those."""
    order = history_parts._Order()

    def late(*steps: int) -> list[bool]:
        return order.late(np.array(steps)).tolist()

    assert late(3, 1, 3, 4, 2) == [False, True, False, False, True]
    assert late(4, 5, 0) == [False, False, True]
    order.go_back(9)
    assert late(4) == [True]
    order.go_back(3)
    assert late(1, 2, 3, 2) == [True, True, False, True]


def test_a_long_run_that_has_another_disk(writer: Writer, path: Path) -> None:
    """A writer that could go to another disk begins further files all the same."""
    write(writer(overflow=Overflow(path)), range(30))

    assert len(segments_of(path)) > 3
    assert JournalReader(path).course().table["step"].to_pylist() == list(range(30))
