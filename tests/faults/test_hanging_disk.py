"""A file system that does not answer, such as NFS whose server is gone, stops no training."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import lrtrack
from lrtrack.journal import journal_file, watchdog
from lrtrack.journal import writer as writer_module
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader
from lrtrack.records import State

from .training import train

ROWS = 40
STEPS = 3


class Disk:
    """Writes to journals wait, as in the kernel, until it answers."""

    def __init__(self, append: Callable[..., None]) -> None:
        self._append = append
        self.answers = threading.Event()
        self.answers.set()

    def append(self, file: Any, data: bytes) -> None:
        """Takes the place of `JournalFile.append`."""
        self.answers.wait()
        self._append(file, data)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """A disk that can hang, of which lrtrack knows after a tenth of a second."""
    disk_ = Disk(journal_file.JournalFile.append)
    monkeypatch.setattr(journal_file.JournalFile, "append", lambda *args: disk_.append(*args))
    monkeypatch.setattr(watchdog, "PERIOD", 0.02)
    monkeypatch.setattr(watchdog, "LOOKS", 5)
    monkeypatch.setattr(writer_module, "PERIOD", 0.02)
    monkeypatch.setattr(writer_module, "BACKLOG_ROWS", ROWS)
    yield disk_
    disk_.answers.set()


@contextmanager
def second_step_hangs(disk: Disk) -> Iterator[tuple[Any, Any]]:
    """A block whose first step is in the journal, while its second one waits for the disk.

    Yields the run and the optimizer.
    """
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.5)
    with lrtrack.track(optimizer, tracker="local", norms="off") as run:
        optimizer.step()
        run.flush()
        disk.answers.clear()
        optimizer.step()
        yield run, optimizer


def said(caught: Any) -> list[str]:
    """Returns the beginnings of lrtrack's warnings about its files."""
    texts = [str(warning.message) for warning in caught]
    return [text.partition(":")[0].partition(" of ")[0] for text in texts if ".journal" in text]


def test_a_disk_that_hangs_and_comes_back(
    disk: Disk, clean_place: Path, within_seconds: Callable[..., None], recwarn: Any
) -> None:
    """While a disk hangs, memory holds the latest steps; later they are written, the lost ones
    counted.
    """
    with second_step_hangs(disk) as (run, optimizer):
        journal = run._recording._journal
        within_seconds(30, lambda: journal.is_stuck)
        for _ in range(3 * ROWS):
            optimizer.step()
        within_seconds(30, lambda: len(journal._rows) < ROWS)
        waiting = [row[0] for row in journal._rows._rows]
        disk.answers.set()
        within_seconds(30, lambda: not journal.is_stuck)
    (path,) = Layout(clean_place / ".lrtrack").journals()
    table, ending = JournalReader(path).table()
    steps = table["step"].to_pylist()

    assert ending is not None
    assert ending.state == State.FINISHED
    assert steps == [0, 1, *waiting]
    assert waiting[-1] == 1 + 3 * ROWS
    lost = f"lrtrack lost {2 + 3 * ROWS - len(steps)} steps"
    assert said(recwarn) == ["The file system", "lrtrack drops the oldest steps", lost]


def test_a_block_that_ends_while_the_disk_hangs(
    disk: Disk, clean_place: Path, within_seconds: Callable[..., None], recwarn: Any
) -> None:
    """The end of a block does not wait for a disk that hangs, and is written if that comes back."""
    with second_step_hangs(disk):
        pass
    (path,) = Layout(clean_place / ".lrtrack").journals()
    before = JournalReader(path).table()[0].num_rows
    disk.answers.set()
    within_seconds(30, lambda: JournalReader(path).table()[1] is not None)

    assert before == 1
    assert JournalReader(path).table()[0]["step"].to_pylist() == [0, 1]
    assert said(recwarn) == ["The file system"]


def test_a_block_that_begins_while_the_disk_hangs(
    clean_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is recorded in a private directory if the journals' disk does not answer at first."""
    usual, answers = clean_place / ".lrtrack", threading.Event()
    change = os.utime

    def utime(path: Any, *args: Any, **kwargs: Any) -> None:
        if not isinstance(path, int) and clean_place in (Path(path), *Path(path).parents):
            answers.wait()
        change(path, *args, **kwargs)

    monkeypatch.setattr(os, "utime", utime)
    monkeypatch.setattr(watchdog, "PERIOD", 0.02)
    moved = clean_place.parent / "state" / "lrtrack" / "journals"
    with pytest.warns(lrtrack.LRTrackWarning) as caught:
        train(STEPS, tracker="local")
    (path,) = Layout(moved).journals()
    (message,) = [str(warning.message) for warning in caught]
    answers.set()

    assert JournalReader(path).table()[0].num_rows == STEPS
    assert not usual.exists()
    assert message == (
        f"The file system of {usual} has not answered for 10 s. This run is recorded in {moved} "
        f"instead, and uploaded from there, or by `LRTRACK_DIR={moved} lrtrack sync`. Fix: check "
        "the mount, or set LRTRACK_DIR to a disk that answers."
    )
