"""Locks between processes: exclusive holding, checks without taking, and deleted lock files."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lrtrack.shipping.lock import Lock, held


@pytest.fixture
def path(clean_place: Path) -> Path:
    """The path of the lock file."""
    return clean_place / "folder" / "lock"


@pytest.fixture
def locks(path: Path) -> Iterator[list[Lock]]:
    """Three locks on the same file, none of them taken yet."""
    path.parent.mkdir()
    created = [Lock(path) for _ in range(3)]
    yield created
    for lock in created:
        lock.release()


def test_a_holder_is_alone(path: Path, locks: list[Lock]) -> None:
    """While a lock is held, neither a waiting nor a non-waiting acquire succeeds."""
    first, second, _ = locks
    before = held(path)
    taken = [first.acquire(), second.acquire(), second.acquire(patience=0.0)]

    assert (before, taken) == (False, [True, False, False])
    assert held(path)
    first.release()
    assert not held(path)
    assert second.acquire(patience=0.0)


def test_a_removed_lock_leaves_no_file(path: Path, locks: list[Lock]) -> None:
    """After a lock is removed, the next holder creates the file again and holds it alone."""
    first, second, third = locks
    first.acquire()
    first.remove()
    left = path.exists()
    taken = [second.acquire(), third.acquire()]
    first.remove()

    assert (left, taken) == (False, [True, False])
    assert held(path)


def test_a_lock_removed_between_opening_and_locking(path: Path, locks: list[Lock]) -> None:
    """Many threads that take and remove a lock in turn never hold it at the same time."""
    inside, most, rounds = [0], [0], [0]
    guard = threading.Lock()

    def work(lock: Lock) -> None:
        for _ in range(200):
            if not lock.acquire():
                continue
            with guard:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                rounds[0] += 1
            with guard:
                inside[0] -= 1
            lock.remove()

    workers = [threading.Thread(target=work, args=(lock,), name="worker") for lock in locks]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert most == [1]
    assert rounds[0] > 200
    assert not path.exists()


def test_a_look_makes_nothing(path: Path) -> None:
    """Checking a lock creates neither the file nor its folder."""
    assert not held(path)
    assert not path.parent.exists()


def test_looks_are_not_taken_for_holders(path: Path, locks: list[Lock]) -> None:
    """Concurrent checks never see each other as holders and do not prevent an acquire."""
    stop, seen = threading.Event(), []
    locks[0].acquire()
    locks[0].release()

    def look() -> None:
        while not stop.is_set():
            seen.append(held(path))
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

    assert alone == {False}
    assert taken == [True] * 20


def test_a_deleted_lock_is_taken_anew(path: Path, locks: list[Lock]) -> None:
    """The holder of a deleted lock file creates it again and keeps the lock."""
    first, second, _ = locks
    first.acquire()
    path.unlink()
    kept = first.kept()

    assert (kept, second.acquire()) == (True, False)
    assert held(path)


def test_a_lock_whose_directory_is_away_is_kept(path: Path, locks: list[Lock]) -> None:
    """A lock stays held while its directory is away and after the directory is back."""
    first, second, _ = locks
    first.acquire()
    shutil.rmtree(path.parent)
    away = first.kept()
    path.parent.mkdir()
    back = first.kept()

    assert (away, back, second.acquire()) == (True, True, False)


def test_a_lock_that_another_has_made_again_is_lost(path: Path, locks: list[Lock]) -> None:
    """A holder whose lock file was replaced by another holder's loses the lock."""
    first, second, _ = locks
    first.acquire()
    path.unlink()
    taken = second.acquire()

    assert (taken, first.kept(), second.kept()) == (True, False, True)
