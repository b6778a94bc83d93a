"""What a disk refuses goes to another one, and comes back once, whatever was written meanwhile."""

from __future__ import annotations

import errno
import os
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest

from lrtrack.journal import frame_queue, overflow
from lrtrack.journal.descriptor import Descriptor
from lrtrack.journal.frame_queue import FrameQueue
from lrtrack.journal.overflow import Overflow

#: A part's own first bytes, and the frames behind them.
HEAD, FRAMES = b"head of the part", b"abcdef"


def appended(path: Path, there: bytes) -> bytes:
    """What a journal holds after the frames of a part for byte 4, of which some may be there."""
    path.write_bytes(b"base" + there)
    number = os.open(path, os.O_RDWR | os.O_APPEND)
    try:
        overflow._append_rest(number, 4, BytesIO(HEAD + FRAMES), len(HEAD))
    finally:
        os.close(number)
    return path.read_bytes().removeprefix(b"base")


@pytest.mark.parametrize("chunk", [1, 2, 4, 2**20])
@pytest.mark.parametrize(
    ("there", "after"),
    [
        (b"", FRAMES),
        (b"abc", FRAMES),
        (FRAMES, FRAMES),
        (FRAMES + b"xyz", FRAMES + b"xyz"),  # the run went on after the frames were added
        (b"x", b"x" + FRAMES),
        (b"abx", b"abx" + FRAMES),  # something else was written there
        (b"abcdxyz", b"abcdxyz" + FRAMES),
    ],
)
def test_frames_are_added_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, there: bytes, after: bytes
) -> None:
    """Only frames that are not in the journal yet are added, however much is read at once."""
    monkeypatch.setattr(overflow, "_CHUNK", chunk)

    assert appended(tmp_path / "journal", there) == after


def test_how_much_of_a_part_is_in_memory(tmp_path: Path) -> None:
    """A part is copied a mebibyte at a time, however long it is."""
    sizes: list[int] = []

    class Source(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            sizes.append(-1 if size is None else size)
            return super().read(size)

    path = tmp_path / "journal"
    path.write_bytes(b"")
    number = os.open(path, os.O_RDWR | os.O_APPEND)
    overflow._append_rest(number, 0, Source(FRAMES), 0)
    os.close(number)

    assert (sizes, path.read_bytes()) == ([2**20, 2**20], FRAMES)


def test_a_disk_that_is_still_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only some of the frames fit, none of them stays in the journal."""
    write, writes = os.write, iter([3])

    def refuse(number: int, data: bytes) -> int:
        for size in writes:
            return write(number, data[:size])
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no room"):
        patch.setattr(os, "write", refuse)
        appended(tmp_path / "journal", b"ab")
    assert (tmp_path / "journal").read_bytes() == b"baseab"


def test_no_disk_has_room(
    tmp_path: Path, clean_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no other disk takes a frame, it stays in memory, and no part is left behind."""
    journal = tmp_path / "a.journal"
    journal.write_bytes(b"")

    def refuse(file: Descriptor, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "no room")

    other = Overflow(journal)
    with monkeypatch.context() as patch:
        patch.setattr(Descriptor, "append", refuse)
        assert not other.append(b"frame")
    assert (bool(other), list(tmp_path.rglob("*.part"))) == (False, [])
    assert other.append(b"frame")
    assert (bool(other), overflow.has_parts(journal)) == (True, True)
    other.release()


def test_how_long_frames_wait_in_memory(
    tmp_path: Path, clean_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames stay in memory for 5 s, counted from the first refusal, and then leave it."""
    now, warnings = [100.0], []

    class Full:
        path = tmp_path / "a.journal"

        def append(self, frame: bytes) -> None:
            raise OSError(errno.ENOSPC, "no room")

    Full.path.write_bytes(b"")
    monkeypatch.setattr(frame_queue, "time", SimpleNamespace(monotonic=lambda: now[0]))
    other = Overflow(Full.path)
    queue = FrameQueue(Full(), other, lambda key, text: warnings.append(key))  # type: ignore[arg-type]
    queue.add(b"frame")
    assert (queue.push(), queue.spills, queue.kept_in) == (False, False, None)
    now[0] = 105.0
    assert (queue.push(), queue.spills, queue.kept_in) == (False, False, None)
    now[0] = 105.001
    assert (queue.push(), queue.spills, queue.kept_in) == (False, True, str(other.place))
    queue.release()

    assert (queue.is_empty, bool(other), set(warnings)) == (False, True, {"disk"})
