"""Disks that are full, read-only or emptied during a training: it continues, and nothing is
lost.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lrtrack.journal.layout import Layout

DELETED = (".", "runs", "queue", "shipper-*.lock", "runs/*.journal", "runs/*.cursor")


def truth(steps: int) -> list[tuple[int, float]]:
    """Returns (step, loss) of a training of `trainer.py`."""
    return [(step, float(step + 1)) for step in range(steps)]


@pytest.fixture
def small_disk(clean_place: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    disk = clean_place / "disk"
    disk.mkdir()
    mkfs = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "lrtrack", str(disk)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mkfs.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mkfs.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def warnings(stderr: str) -> list[str]:
    """Returns lrtrack's warnings, except for the duration of the delivery, which varies."""
    lines = [line for line in stderr.splitlines() if "LRTrackWarning: lrtrack" in line]
    return [line for line in lines if "Upload is still running in the background" not in line]


def fill(disk: Path) -> Path:
    """Fills a disk with one file, and returns the file."""
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
        while file.write(bytes(2**12)):
            pass
    return ballast


def remount(disk: Path, how: str) -> None:
    """Remounts the disk `ro` or `rw`; after a killed process has written to it, it is busy for a
    while.
    """
    command = ["mount", "-o", f"remount,{how}", str(disk)]
    for _ in range(100):
        if subprocess.run(command, capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(command, check=True)


def delete(root: Path, what: str) -> None:
    """Deletes a journal directory or something in it, in one step for any process that writes
    there.
    """
    for path in [root] if what == "." else list(root.glob(what)):
        moved = root.parent / f"gone-{time.monotonic_ns()}"
        with contextlib.suppress(FileNotFoundError):  # replaced at this moment
            path.rename(moved)
            if moved.is_dir():
                shutil.rmtree(moved)
            else:
                moved.unlink()


def test_a_disk_that_is_full_for_a_while(
    fork_server: Callable[..., Any],
    small_disk: Path,
    store: str,
    stored: Callable[[str], Any],
    within_seconds: Callable[..., None],
) -> None:
    """A full disk causes one warning, and once there is room, all steps are delivered once."""
    trainings = fork_server(LRTRACK_DIR=str(small_disk / "journals"))
    child = trainings.train("full", 0.003)
    trainings.until("full", 200)
    ballast = fill(small_disk)
    before = trainings.steps("full")
    during = trainings.until("full", before + 500)
    within_seconds(60, lambda: "lrtrack cannot write" in trainings.said())
    ballast.unlink()
    trainings.until("full", trainings.steps("full") + 100)
    trainings.stop("full")
    status = trainings.wait(child)
    delivered = stored(store)
    within_seconds(60, lambda: delivered.status() == "FINISHED")

    assert status == 0
    assert during - before > 100
    assert trainings.said().count("lrtrack cannot write") == 1
    assert delivered.losses() == truth(trainings.steps("full"))


def test_no_room_for_the_delivery_state(
    fork_server: Callable[..., Any],
    small_disk: Path,
    store: str,
    stored: Callable[[str], Any],
    command_line: Callable[..., Any],
    living_shippers: Callable[[], list[int]],
    kill_shippers: Callable[[], None],
    journalled: Callable[..., int],
    within_seconds: Callable[..., None],
) -> None:
    """A delivery whose state cannot be stored sends nothing twice and gives nothing up."""
    journals = str(small_disk / "journals")
    trainings = fork_server(LRTRACK_DIR=journals)
    child = trainings.train("kept", 0.001)
    within_seconds(60, lambda: journalled("kept", Path(journals)) > 200)
    within_seconds(60, lambda: living_shippers() != [])
    ballast = fill(small_disk)
    os.kill(child, signal.SIGKILL)
    trainings.wait(child)
    kill_shippers()
    for cursor in Layout(small_disk / "journals").root.glob("runs/*.cursor"):
        cursor.unlink()  # now something else fills the disk
    fill(small_disk)
    full = command_line("sync", LRTRACK_DIR=journals)
    ballast.unlink()
    free = command_line("sync", LRTRACK_DIR=journals)
    losses = stored(store).losses()

    assert (full.returncode, full.stdout) == (1, "Delivered 0 of 1 runs.\n")
    assert "Traceback" not in full.stderr
    assert (free.returncode, free.stdout) == (0, "Delivered 1 of 1 runs.\n")
    assert losses == truth(len(losses))
    assert len(losses) > 100


def test_a_disk_that_is_read_only_from_the_start(
    trainer: Callable[..., Any], small_disk: Path, store: str, stored: Callable[[str], Any]
) -> None:
    """On a disk that is read-only from the start, training runs without a record and says why."""
    remount(small_disk, "ro")
    process = trainer(20, 0.0, LRTRACK_DIR=str(small_disk / "journals"))
    _, err = process.communicate(timeout=300)

    assert process.returncode == 0
    assert err.count("Read-only file system") == 1
    assert "Training continues without a record. Fix: set LRTRACK_DIR" in err
    assert stored(store).runs() == []


def test_a_journal_on_a_read_only_disk(
    fork_server: Callable[..., Any],
    small_disk: Path,
    store: str,
    stored: Callable[[str], Any],
    command_line: Callable[..., Any],
    living_shippers: Callable[[], list[int]],
    kill_shippers: Callable[[], None],
    journalled: Callable[..., int],
    within_seconds: Callable[..., None],
) -> None:
    """On a read-only disk `sync` names the obstacle, `doctor` still lists the queue, and all
    arrives later.
    """
    journals = str(small_disk / "journals")
    trainings = fork_server(LRTRACK_DIR=journals)
    child = trainings.train("stuck", 0.001)
    within_seconds(60, lambda: journalled("stuck", Path(journals)) > 100)
    within_seconds(60, lambda: living_shippers() != [])
    os.kill(child, signal.SIGKILL)
    trainings.wait(child)
    kill_shippers()
    remount(small_disk, "ro")
    stuck = command_line("sync", LRTRACK_DIR=journals)
    doctor = command_line("doctor", LRTRACK_DIR=journals)
    remount(small_disk, "rw")
    free = command_line("sync", LRTRACK_DIR=journals)
    losses = stored(store).losses()

    assert (stuck.returncode, stuck.stdout) == (1, "")
    assert "Read-only file system" in stuck.stderr
    assert "Traceback" not in stuck.stderr
    assert doctor.returncode == 1
    assert "stuck to mlflow" in doctor.stdout
    assert (free.returncode, free.stdout) == (0, "Delivered 1 of 1 runs.\n")
    assert losses == truth(len(losses))


def test_a_directory_that_takes_no_new_files_for_a_while(
    fork_server: Callable[..., Any],
    store: str,
    stored: Callable[[str], Any],
    clean_place: Path,
    within_seconds: Callable[..., None],
) -> None:
    """A delivery whose state cannot be written waits, and continues where it was."""
    runs = clean_place / ".lrtrack" / "runs"
    runs.mkdir(mode=0o700, parents=True)
    if subprocess.run(["chattr", "-i", str(runs)], capture_output=True, check=False).returncode:
        pytest.skip("this file system, or this user, cannot make a directory immutable")
    trainings = fork_server()
    child = trainings.train("immutable", 0.003)
    within_seconds(90, lambda: stored(store).status() == "RUNNING")
    try:
        subprocess.run(["chattr", "+i", str(runs)], check=True)
        time.sleep(3.0)
    finally:
        subprocess.run(["chattr", "-i", str(runs)], check=True)
    time.sleep(1.0)
    trainings.stop("immutable")
    status = trainings.wait(child)
    delivered = stored(store)
    within_seconds(60, lambda: delivered.status() == "FINISHED")

    assert status == 0
    assert delivered.losses() == truth(trainings.steps("immutable"))


@pytest.mark.soak
def test_journals_deleted_under_a_run(
    fork_server: Callable[..., Any],
    store: str,
    stored: Callable[[str], Any],
    clean_place: Path,
    journalled: Callable[..., int],
    within_seconds: Callable[..., None],
) -> None:
    """Deleted journals are restored with private permissions, and each step is delivered once."""
    root = clean_place / ".lrtrack"
    trainings = fork_server()
    child = trainings.train("deleted", 0.003)
    delivered = stored(store)
    within_seconds(90, lambda: delivered.status() == "RUNNING")
    for what in DELETED:
        delete(root, what)
        steps = trainings.steps("deleted")
        within_seconds(60, lambda steps=steps: journalled("deleted") > steps + 300)
    journals = list((root / "runs").glob("*.journal"))
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (root, root / "runs", *journals)]
    trainings.stop("deleted")
    status = trainings.wait(child)
    within_seconds(60, lambda: delivered.status() == "FINISHED")

    assert status == 0
    assert modes == [0o700, 0o700, 0o600]
    assert delivered.losses() == truth(trainings.steps("deleted"))
    assert warnings(trainings.said()) == []


@pytest.mark.soak
def test_everything_deleted_and_the_shipper_killed(
    fork_server: Callable[..., Any],
    store: str,
    stored: Callable[[str], Any],
    repeats: Callable[[int, int], int],
    clean_place: Path,
    living_shippers: Callable[[], list[int]],
    within_seconds: Callable[..., None],
) -> None:
    """A shipper without any delivery state asks the tracker, and creates no second run."""
    trainings = fork_server()
    child = trainings.train("forgotten", 0.0005)
    delivered = stored(store)
    within_seconds(90, lambda: delivered.status() == "RUNNING")
    for _ in range(repeats(2, 20)):
        within_seconds(60, lambda: living_shippers() != [])
        # more than one batch has arrived
        trainings.until("forgotten", trainings.steps("forgotten") + 2000)
        for shipper in living_shippers():
            os.kill(shipper, signal.SIGKILL)
        delete(clean_place / ".lrtrack", ".")
    trainings.stop("forgotten")
    status = trainings.wait(child)
    within_seconds(120, lambda: delivered.status() == "FINISHED")

    assert status == 0
    assert trainings.steps("forgotten") > 1000
    assert delivered.losses() == truth(trainings.steps("forgotten"))


def test_a_directory_that_cannot_come_back(
    fork_server: Callable[..., Any],
    store: str,
    stored: Callable[[str], Any],
    clean_place: Path,
    within_seconds: Callable[..., None],
) -> None:
    """A file in the place of the journal directory costs one warning and the record, not the
    training.
    """
    root = clean_place / ".lrtrack"
    trainings = fork_server()
    child = trainings.train("homeless", 0.003)
    within_seconds(90, lambda: stored(store).status() == "RUNNING")
    while root.is_dir():
        delete(root, ".")
        with contextlib.suppress(OSError):  # it has been restored already
            root.touch(exist_ok=False)
    before = trainings.steps("homeless")
    during = trainings.until("homeless", before + 500)
    within_seconds(60, lambda: "which was deleted" in trainings.said())
    trainings.stop("homeless")
    status = trainings.wait(child)

    assert status == 0
    assert during - before > 100
    assert trainings.said().count("which was deleted") == 1
    assert "Traceback" not in trainings.said()
    assert root.read_bytes() == b""


FULL_AT_THE_END = """
import os, sys, torch, lrtrack
optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.5)
with lrtrack.track(optimizer, experiment="faults", flush_timeout=10) as run:
    for step in range(200):
        optimizer.step()
        run.log(loss=step + 1.0)
        if step == 100:
            run.flush()
            with open(sys.argv[1], "ab", buffering=0) as ballast:
                try:
                    while ballast.write(bytes(4096)):
                        pass
                except OSError:
                    pass
        run.log(**{f"m{k}": step * 1.37 + k for k in range(20)})
"""


@pytest.mark.parametrize("begun", [False, True], ids=["from the start", "until the end"])
def test_a_disk_that_stays_full(
    small_disk: Path,
    store: str,
    stored: Callable[[str], Any],
    command_line: Callable[..., Any],
    within_seconds: Callable[..., None],
    begun: bool,
) -> None:
    """A run on a disk that stays full is FINISHED with all its steps, and the user is warned."""
    journals = small_disk / "journals"
    ballast = fill(small_disk) if not begun else small_disk / "ballast"
    trainer = subprocess.run(
        [sys.executable, "-P", "-c", FULL_AT_THE_END, str(ballast)],
        env={**os.environ, "LRTRACK_DIR": str(journals)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    ballast.unlink()
    command_line("sync", LRTRACK_DIR=str(journals))
    delivered = stored(store)
    within_seconds(60, lambda: delivered.status() == "FINISHED")

    assert trainer.returncode == 0
    assert ("It is kept in" if begun else "is recorded in") in trainer.stderr
    assert delivered.losses() == truth(200)
