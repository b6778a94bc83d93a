"""Descriptors that other code in the process closes: the code's own files stay untouched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lrtrack.journal import overflow
from lrtrack.journal.descriptor import Descriptor
from lrtrack.journal.reader import JournalReader
from lrtrack.records import State
from lrtrack.shipping.lock import Lock, held


def steal(path: Path, by: Path) -> int:
    """Closes this process's descriptor of `path` and opens another file under its number."""
    (number,) = [
        int(name)
        for name in os.listdir("/proc/self/fd")  # noqa: PTH208 (numbers, not files)
        if os.path.realpath(f"/proc/self/fd/{name}") == str(path)
    ]
    os.close(number)
    mine = os.open(by, os.O_RDWR | os.O_CREAT)
    if mine != number:
        os.dup2(mine, number)
        os.close(mine)
    os.write(number, b"CHECKPOINT")
    return number


def test_a_stolen_number_is_neither_used_nor_closed(tmp_path: Path) -> None:
    """A reused descriptor number is neither written to nor closed."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    descriptor = Descriptor(ours)
    number = steal(ours, theirs)
    with pytest.raises(OSError, match="closed by other code"):
        _ = descriptor.number
    descriptor.close()
    del descriptor
    os.write(number, b"!")
    os.close(number)

    assert theirs.read_bytes() == b"CHECKPOINT!"
    assert ours.read_bytes() == b""


@pytest.mark.parametrize("journal", ["there", "deleted"])
def test_a_journal_whose_descriptor_is_stolen_goes_on(
    writer, path, rows, tmp_path, run, journal: str
) -> None:
    """A journal that lost its descriptor is opened and locked again, or recreated if deleted."""
    open_one = writer()
    open_one.append(0, 1.0, {"lr": 0.5})
    open_one.flush()
    theirs = tmp_path / "theirs"
    number = steal(path, theirs)
    if journal == "deleted":
        path.unlink()
    open_one.append(1, 2.0, {"lr": 0.25})
    open_one.flush()
    alive = JournalReader(path).alive()
    open_one.close(State.FINISHED)
    os.close(number)
    expected = {0: (1.0, {"lr": 0.5}), 1: (2.0, {"lr": 0.25})}
    if journal == "deleted":
        del expected[0]

    assert theirs.read_bytes() == b"CHECKPOINT"
    assert alive is True
    assert rows(path) == expected
    assert JournalReader(path).run == run
    assert not JournalReader(path).damage


def test_a_lock_whose_descriptor_is_stolen_is_taken_anew(tmp_path: Path) -> None:
    """A lock that lost its descriptor is taken again without closing the other file."""
    lock = Lock(tmp_path / "lock")
    lock.acquire()
    number = steal(tmp_path / "lock", tmp_path / "theirs")
    kept = lock.kept()
    during = held(tmp_path / "lock")
    lock.release()
    os.write(number, b"!")
    os.close(number)

    assert (kept, during, held(tmp_path / "lock")) == (True, True, False)
    assert (tmp_path / "theirs").read_bytes() == b"CHECKPOINT!"


@pytest.mark.parametrize("there", [0, 7, 12], ids=["nothing", "a part", "all"])
def test_what_a_full_disk_refused_is_added_once(writer, path, rows, there: int) -> None:
    """A merge of overflowed bytes that is killed at any point writes each byte once."""
    open_one = writer()
    open_one.append(0, 1.0, {"lr": 0.5})
    open_one.close(State.FINISHED)
    whole = path.read_bytes()
    entries = list(JournalReader(path).entries())
    cut = entries[0].end
    path.write_bytes(whole[:cut])
    kept = overflow.Overflow(path)
    for entry in entries[1:]:
        assert kept.append(whole[entry.start : entry.end])
    kept.release()
    rest = len(whole) - cut
    path.write_bytes(whole[: cut + rest * there // 12])
    overflow.merge(path)
    overflow.merge(path)

    assert path.read_bytes() == whole
    assert rows(path) == {0: (1.0, {"lr": 0.5})}


WITHOUT_STREAMS = """
import os, sys
from pathlib import Path
for number in (0, 1, 2):
    os.close(number)
from lrtrack.journal.descriptor import Descriptor
file = Descriptor(Path(sys.argv[1]))
file.append(b"mine")
for number in (0, 1, 2):
    try:
        os.write(number, b"printed by a library")
    except OSError:
        pass
valid, at = file.is_valid(), file.is_at(Path(sys.argv[1]))
Path(sys.argv[2]).write_text(f"{file.number > 2} {valid} {at}")
"""


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    """What is printed to a closed standard stream never gets into lrtrack's files."""
    path, result = tmp_path / "file", tmp_path / "result"
    subprocess.run([sys.executable, "-c", WITHOUT_STREAMS, str(path), str(result)], check=True)

    assert result.read_text() == "True True True"
    assert path.read_bytes() == b"mine"
