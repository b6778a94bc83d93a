"""Locks between processes: exclusive holding, checks without taking, and deleted lock files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, Target
from lrtrack.shipping.cursor import Cursor
from lrtrack.shipping.lock import Lock, held
from lrtrack.shipping.process import Shipper
from lrtrack.shipping.undelivered import undelivered
from lrtrack.trackers.memory import MemoryTracker


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


def test_a_forked_child_does_not_keep_a_lock(path: Path, locks: list[Lock]) -> None:
    """A lock is free once its process has released it or was killed, whatever its children do."""
    code = """
import os, pathlib, signal, sys
from lrtrack.shipping.lock import Lock
one, other = (Lock(pathlib.Path(name)) for name in sys.argv[1:])
one.acquire(), other.acquire()
if os.fork() == 0:
    print("child", flush=True)
    sys.stdin.read()
    os._exit(0)
one.release()
os.kill(os.getpid(), signal.SIGKILL)
"""
    other = path.with_name("other")
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code, str(path), str(other)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"child\n"
    process.wait()
    free = not held(path), not held(other), locks[0].acquire()
    process.communicate()  # ends the child

    assert free == (True, True, True)


NOBODY = 65534


def as_another_user(code: str, *arguments: str) -> str:
    """Runs code as a user without rights, after all imports, and returns what it printed."""
    prelude = f"""
import fcntl, os, pathlib, pwd, sys
from lrtrack.journal.layout import Layout
from lrtrack.shipping.lock import Lock, held
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
"""
    command = [sys.executable, "-P", "-c", prelude + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that every user can enter, unlike those of pytest."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_lock_file_that_another_user_left(shared: Path) -> None:
    """A lock file that `sudo` left in the user's directory is replaced, unless it is held."""
    path = shared / "lock"
    lock = Lock(path)
    lock.acquire()
    os.chown(shared, NOBODY, NOBODY)
    code = """
lock = Lock(pathlib.Path(sys.argv[1]))
print(held(pathlib.Path(sys.argv[1])), lock.acquire(), pathlib.Path(sys.argv[1]).stat().st_uid)
"""
    while_held = as_another_user(code, str(path))
    lock.release()
    left = as_another_user(code, str(path))

    assert (while_held, left) == ("True False 0\n", f"False True {NOBODY}\n")


def test_a_directory_of_another_user(shared: Path) -> None:
    """Another user's lock or journal directory is refused by that user's name."""
    path, root = shared / "lock", shared / ".lrtrack"
    lock = Lock(path)
    lock.acquire()
    Layout(root).create()
    code = """
path, root = map(pathlib.Path, sys.argv[1:])
for use in (lambda: Lock(path).acquire(), Layout(root).create):
    try:
        print(use())
    except Exception as error:
        print(error)
"""
    held_elsewhere, directory = as_another_user(code, str(path), str(root)).splitlines()
    lock.release()
    left, _ = as_another_user(code, str(path), str(root)).splitlines()

    assert held_elsewhere == "False"
    assert "belongs to the user root. Fix: delete it" in left
    assert directory == (
        f"cannot write to the journal directory {root}: it belongs to the user root"
    )


def test_a_directory_in_the_place_of_a_delivery_s_lock(clean_place: Path) -> None:
    """A lock that cannot be taken is named at once, and not mistaken for another process."""
    layout = Layout(clean_place / ".lrtrack")
    layout.create()
    run = Run("1" * 32, "r", targets=(Target("memory", experiment="x"),))
    JournalWriter(layout.journal(run.id), run).close(State.FINISHED)
    layout.marker(run.id).touch()
    layout.delivery_lock(run.id, "memory").mkdir()
    lines: list[str] = []
    Shipper(layout, lambda name: MemoryTracker(), once=True, log=lines.append).run()
    (waiting,) = undelivered(layout)

    assert len(lines) == 1
    assert "Is a directory" in lines[0]
    assert Cursor.load(layout.cursor(run.id, "memory")).given_up
    assert waiting.error is not None
    assert "Is a directory" in waiting.error
