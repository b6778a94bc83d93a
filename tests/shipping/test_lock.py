"""One shipper a directory, or threads that share it: who holds the lock, and who only looks."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lrtrack.shipping.lock import Holder, Lock, held, holder


@pytest.fixture
def path(clean_place: Path) -> Path:
    """Where the lock is."""
    return clean_place / "folder" / "lock"


@pytest.fixture
def locks(path: Path) -> Iterator[list[Lock]]:
    """Three locks of the same file, none taken yet."""
    path.parent.mkdir()
    made = [Lock(path) for _ in range(3)]
    yield made
    for lock in made:
        lock.release()


def test_a_process_is_alone(path: Path, locks: list[Lock]) -> None:
    """While one holds it, neither a second process nor a thread's share is let in."""
    first, second, _ = locks
    before = held(path)
    taken = [first.acquire(), second.acquire(), second.acquire(shared=True)]

    assert (before, taken) == (False, [True, False, False])
    assert holder(path) is Holder.PROCESS
    first.release()
    assert not held(path)


def test_threads_share_it_and_keep_processes_out(path: Path, locks: list[Lock]) -> None:
    """Each of several trainings delivers its own run; no process beside them."""
    first, second, process = locks
    taken = [first.acquire(shared=True), second.acquire(shared=True), process.acquire()]

    assert taken == [True, True, False]
    assert holder(path) is Holder.THREADS
    first.release()
    assert held(path)
    second.release()
    assert (held(path), process.acquire()) == (False, True)


def test_a_look_makes_nothing(path: Path) -> None:
    """Where there is no lock there is none afterwards, nor a folder."""
    assert holder(path) is None
    assert not path.parent.exists()


def test_looks_are_not_taken_for_holders(path: Path, locks: list[Lock]) -> None:
    """Many who look at once see nobody, and whoever takes the lock meanwhile gets it."""
    stop, seen = threading.Event(), []
    locks[0].acquire()
    locks[0].release()

    def look() -> None:
        while not stop.is_set():
            seen.append(holder(path))
            time.sleep(0.001)

    lookers = [threading.Thread(target=look, name="looker") for _ in range(4)]
    for looker in lookers:
        looker.start()
    time.sleep(1.0)
    alone = set(seen)
    taken = []
    for _ in range(20):
        taken.append(locks[0].acquire())
        locks[0].release()
    stop.set()
    for looker in lookers:
        looker.join()

    assert alone == {None}
    assert taken == [True] * 20


def test_a_deleted_lock_is_taken_anew(path: Path, locks: list[Lock]) -> None:
    """Its holder keeps it: the next one to come finds it held."""
    first, second, _ = locks
    first.acquire()
    path.unlink()
    kept = first.kept()

    assert (kept, second.acquire()) == (True, False)
    assert holder(path) is Holder.PROCESS


def test_a_lock_whose_directory_is_away_is_kept(path: Path, locks: list[Lock]) -> None:
    """Nobody else can hold it there either; when it is back, the holder is the same."""
    first, second, _ = locks
    first.acquire()
    shutil.rmtree(path.parent)
    away = first.kept()
    path.parent.mkdir()
    back = first.kept()

    assert (away, back, second.acquire()) == (True, True, False)


def test_a_lock_that_another_has_made_again_is_lost(path: Path, locks: list[Lock]) -> None:
    """Of two shippers the one goes whose lock is not the file there."""
    first, second, _ = locks
    first.acquire()
    path.unlink()
    taken = second.acquire()

    assert (taken, first.kept(), second.kept()) == (True, False, True)
