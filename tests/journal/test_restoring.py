"""A journal that was deleted is copied back whole, and rows are divided into frames."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lrtrack.journal import repair
from lrtrack.journal.descriptor import Descriptor
from lrtrack.journal.row_queue import _parts

CONTENT = bytes(range(100))


@pytest.fixture
def deleted(tmp_path: Path) -> Iterator[tuple[Descriptor, Path]]:
    """An open journal whose file is gone, and where that was."""
    path = tmp_path / "runs" / "a.journal"
    path.parent.mkdir()
    file = Descriptor(path)
    file.append(CONTENT)
    path.unlink()
    yield file, path
    file.close()


@pytest.mark.parametrize("part", [1, 33, 100, 1000])
def test_a_deleted_journal_is_copied_back(
    deleted: tuple[Descriptor, Path], monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    """The copy has every byte and the lock, and drafts that were left behind are removed."""
    monkeypatch.setattr(repair, "_PART", part)
    file, path = deleted
    path.with_name(f".{path.name}.left").write_bytes(b"half")
    path.with_name(".other.journal.left").write_bytes(b"another's")
    copy = repair.restored(file, path)
    with path.open("rb") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    copy.close()

    assert path.read_bytes() == CONTENT
    assert sorted(os.listdir(path.parent)) == [".other.journal.left", "a.journal"]  # noqa: PTH208


def test_a_journal_that_another_process_writes_is_left_alone(
    deleted: tuple[Descriptor, Path],
) -> None:
    """A file that somebody has locked in the journal's place is not replaced."""
    file, path = deleted
    path.write_bytes(b"another's")
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            repair.restored(file, path)

    assert path.read_bytes() == b"another's"
    repair.restored(file, path).close()
    assert path.read_bytes() == CONTENT


def test_a_copy_that_fails_leaves_nothing(
    deleted: tuple[Descriptor, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that shrinks while it is copied is an error, and leaves no file behind."""
    file, path = deleted
    monkeypatch.setattr(repair.os, "pread", lambda *_: b"")
    with pytest.raises(OSError, match="the journal shrinks"):
        repair.restored(file, path)

    assert list(path.parent.iterdir()) == []


def sizes(widths: list[int], most_rows: int, most_values: int = 10**6) -> list[int]:
    """How many rows each frame gets of rows with so many metrics, named from the first on."""
    rows = [(at, 0.0, dict.fromkeys(map(str, range(n)), 1.0)) for at, n in enumerate(widths)]
    parts = list(_parts(rows, most_rows, most_values))

    assert [row for part in parts for row in part] == rows
    return [len(part) for part in parts]


def test_how_rows_are_divided() -> None:
    """A frame has up to so many rows, and up to so many values with step and time."""
    assert sizes([1] * 7, most_rows=3) == [3, 3, 1]
    assert sizes([1] * 6, most_rows=3) == [3, 3]
    assert sizes([1] * 2, most_rows=3) == [2]
    assert sizes([], most_rows=3) == []
    assert sizes([8] * 5, most_rows=9, most_values=20) == [2, 2, 1]
    assert sizes([8] * 5, most_rows=9, most_values=19) == [1] * 5
    assert sizes([8] * 2, most_rows=9, most_values=1) == [1, 1]
    assert sizes([1, 1, 8], most_rows=9, most_values=30) == [3]
    assert sizes([1, 1, 8], most_rows=9, most_values=29) == [2, 1]
    assert sizes([8, 1, 1, 1, 1], most_rows=9, most_values=30) == [3, 2]
