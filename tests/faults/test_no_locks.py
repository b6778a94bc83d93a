"""A file system without `flock`, such as Lustre that is mounted without it."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

import lrtrack
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader
from lrtrack.shipping.lock import held

from .training import train

STEPS = 3


def refuse_locks(monkeypatch: pytest.MonkeyPatch, folder: Path, number: int) -> None:
    """Lets `flock` fail for all files below a folder."""
    lock = fcntl.flock

    def flock(file, operation: int) -> None:
        link = Path(f"/proc/self/fd/{getattr(file, 'fileno', lambda: file)()}")
        if link.readlink().is_relative_to(folder):
            raise OSError(number, os.strerror(number))
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_training_where_no_locks_are(
    number: int, clean_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without locks, a run is recorded in a private directory, and the message says what that
    means.
    """
    refuse_locks(monkeypatch, clean_place, number)
    with pytest.warns(lrtrack.LRTrackWarning) as caught:
        train(STEPS, tracker="local")
    moved = clean_place.parent / "state" / "lrtrack" / "journals"
    (path,) = Layout(moved).journals()
    (message,) = [str(warning.message) for warning in caught]

    assert JournalReader(path).table()[0].num_rows == STEPS
    assert list(Layout(clean_place / ".lrtrack").journals()) == []
    assert f"{os.strerror(number)}. This run is recorded in {moved} instead" in message
    assert "That file system has no locks (flock)" in message
    assert message.endswith("set LRTRACK_DIR to a directory on one that has them.")


def test_a_run_that_is_resumed_where_no_locks_are(
    clean_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was recorded in a private directory is resumed there, with the usual directory."""
    with monkeypatch.context() as meanwhile, pytest.warns(lrtrack.LRTrackWarning):
        refuse_locks(meanwhile, clean_place, errno.ENOLCK)
        train(STEPS, tracker="local")
    moved = Layout(clean_place.parent / "state" / "lrtrack" / "journals")
    (path,) = moved.journals()
    train(STEPS, tracker="local", resume=path.stem)

    assert JournalReader(path).table()[0]["step"].to_pylist() == [*range(2 * STEPS)]
    assert list(moved.journals()) == [path]
    assert list(Layout(clean_place / ".lrtrack").journals()) == []


def test_journals_where_no_locks_are(clean_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals that were copied to a file system without locks can be read, as ended ones."""
    train(STEPS, tracker="local")
    refuse_locks(monkeypatch, clean_place, errno.ENOSYS)
    (path,) = Layout(clean_place / ".lrtrack").journals()
    reader = JournalReader(path)

    assert (reader.alive(), held(path)) == (False, False)
    assert reader.table()[0].num_rows == STEPS
