"""Starting the shipper: by which process, and how often."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

import lrtrack
from lrtrack.journal.layout import Layout
from lrtrack.shipping import spawn
from lrtrack.shipping.credentials import Snapshot


def test_short_runs_in_a_row_start_one_shipper(
    store, living_shippers, command_line, within_seconds
) -> None:
    """A shipper that is still starting for one run is not started again for the next."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)
    for _ in range(5):
        with lrtrack.track(optimizer, tracker="mlflow", flush_timeout=0):
            optimizer.step()
    within_seconds(60, lambda: living_shippers() != [])
    started = living_shippers()
    synced = command_line("sync", MLFLOW_TRACKING_URI=store)

    assert len(started) == 1
    assert synced.returncode == 0


def test_a_shipper_that_stands_apart_holds_nothing_of_the_training(
    store, living_shippers, within_seconds, monkeypatch, clean_place
) -> None:
    """It is no child of the training, which may kill those, and keeps none of its files open."""
    monkeypatch.setattr(spawn, "_detach", True)
    monkeypatch.setattr(spawn, "children", set())
    monkeypatch.setenv("LRTRACK_SHIPPER_IDLE", "5")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)
    with (clean_place / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        with lrtrack.track(optimizer, tracker="mlflow", flush_timeout=300):
            optimizer.step()
        (shipper,) = map(psutil.Process, living_shippers())

        assert shipper.ppid() != os.getpid()
        assert file.name not in {str(Path(each.path)) for each in shipper.open_files()}
        assert spawn.children == set()
    shipper.terminate()
    within_seconds(30, lambda: not living_shippers())


WITHOUT_STREAMS = """
import os, sys
from pathlib import Path
closed = map(int, sys.argv[2])
from lrtrack.journal.layout import Layout
from lrtrack.shipping import spawn
for number in closed:
    os.close(number)
log = spawn._log_of(Layout(Path(sys.argv[1])), "key")
started = spawn._child(["/bin/sh", "-c", "echo out; echo err >&2"], os.environ, log, log)
os.waitpid(started, 0)
spawn._orphan(["/bin/sh", "-c", "echo orphan >&2"], os.environ, log)
"""


@pytest.mark.parametrize("closed", ["2", "012"])
def test_a_log_without_standard_streams(tmp_path: Path, within_seconds, closed: str) -> None:
    """What a shipper prints is in its log, whichever streams of the training are closed."""
    subprocess.run([sys.executable, "-c", WITHOUT_STREAMS, str(tmp_path), closed], check=True)
    log = Layout(tmp_path).shipper_log("key")

    within_seconds(30, lambda: log.read_text() == "out\nerr\norphan\n")


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], Mapping[str, str], Any]]:
    """The programs that were to be started, as process 123, with what becomes of their streams."""
    calls: list[tuple[list[str], Mapping[str, str], Any]] = []

    def start(path: str, command: list[str], env: Mapping[str, str], **options: Any) -> int:
        assert path == command[0]
        assert options.pop("setsid") is True
        calls.append((command, env, options.pop("file_actions")))
        assert options == {}
        return 123

    monkeypatch.setattr(os, "posix_spawn", start)
    monkeypatch.setattr(spawn, "children", set())
    monkeypatch.setattr(spawn, "orphans", set())
    monkeypatch.setattr(spawn, "_detach", False)
    return calls


SNAPSHOT = Snapshot({"A": "1", "CUDA_VISIBLE_DEVICES": "0"}, {})


def test_how_a_shipper_is_started(layout: Layout, spawned, monkeypatch) -> None:
    """It has the run's environment without GPUs, no input, and its log as both outputs."""
    monkeypatch.delenv("LRTRACK_SHIPPER_IDLE")
    launched = spawn.launch(layout, SNAPSHOT)
    ((command, environment, (nothing, out, error)),) = spawned

    assert (launched, spawn.children, spawn.orphans) == (True, {123}, set())
    assert command[1:] == ["-P", "-m", "lrtrack.shipping", str(layout.root), "5.0", SNAPSHOT.key]
    assert environment == {"A": "1", "CUDA_VISIBLE_DEVICES": ""}
    assert nothing == (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    assert (out[0], out[2]) == (error[0], error[2] - 1) == (os.POSIX_SPAWN_DUP2, 1)
    assert out[1] == error[1] > 2
    assert layout.shipper_log(SNAPSHOT.key).stat().st_mode & 0o777 == 0o600


def test_a_shipper_that_cannot_be_started(layout: Layout, spawned, monkeypatch) -> None:
    """Where no process can be started that is told, and the log is closed."""
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208
    for error in (OSError("no"), ValueError("no"), NotImplementedError()):

        def fail(*_: Any, error: Exception = error, **__: Any) -> int:
            raise error

        monkeypatch.setattr(os, "posix_spawn", fail)
        assert spawn.launch(layout, SNAPSHOT) is False

    assert (spawn.children, len(os.listdir("/dev/fd"))) == (set(), before)  # noqa: PTH208


def test_shippers_that_stand_apart(layout: Layout, spawned, monkeypatch) -> None:
    """From then on, shippers are no children of this process."""
    monkeypatch.setattr(spawn, "_orphan", lambda *_: 456)
    spawn.detach_shippers()

    assert spawn.launch(layout, SNAPSHOT) is True
    assert (spawn.children, spawn.orphans, spawned) == (set(), {456}, [])


def test_which_logs_are_deleted(layout: Layout, monkeypatch) -> None:
    """A log that is old goes, and a shipper's own that is large; then it appends to its own."""
    own, large, old = (layout.shipper_log(key) for key in ("own", "large", "old"))
    for path, size, age in (
        (own, spawn.LOG_SIZE + 1, 0.0),
        (large, spawn.LOG_SIZE + 1, 0.0),
        (old, 1, spawn.LOG_AGE + 60.0),
    ):
        path.write_bytes(b"." * size)
        os.utime(path, (time.time() - age,) * 2)
    for text in (b"first ", b"second"):
        file = spawn._log_of(layout, "own")
        os.write(file, text)
        os.close(file)

    assert own.read_bytes() == b"first second"
    assert layout.shipper_logs() == sorted([own, large])
    os.truncate(own, spawn.LOG_SIZE)
    os.close(spawn._log_of(layout, "own"))
    assert own.stat().st_size == spawn.LOG_SIZE


def test_a_link_in_the_place_of_a_log(layout: Layout, tmp_path: Path) -> None:
    """Nothing is written through a link."""
    (tmp_path / "victim").touch()
    layout.shipper_log("key").symlink_to(tmp_path / "victim")
    file = spawn._log_of(layout, "key")
    os.write(file, b"text")
    os.close(file)

    assert (tmp_path / "victim").read_bytes() == b""


def test_the_descriptor_of_a_closed_stream(monkeypatch) -> None:
    """A descriptor below 3 is moved above the streams, and closed; others stay."""
    calls: list[Any] = []
    monkeypatch.setattr(spawn.fcntl, "fcntl", lambda *each: calls.append(each) or 7)
    monkeypatch.setattr(spawn.os, "close", calls.append)

    assert [spawn._above_streams(number) for number in (3, 2)] == [3, 7]
    assert calls == [(2, fcntl.F_DUPFD_CLOEXEC, 3), 2]


def test_shippers_that_have_ended(monkeypatch) -> None:
    """Children that ended, or that other code waited for, and dead orphans are forgotten."""

    def waitpid(child: int, options: int) -> tuple[int, int]:
        assert options == os.WNOHANG
        if child == 3:
            raise ChildProcessError
        return (child if child == 2 else 0), 0

    def kill(orphan: int, number: int) -> None:
        assert number == 0
        if orphan == 5:
            raise ProcessLookupError

    monkeypatch.setattr(spawn.os, "waitpid", waitpid)
    monkeypatch.setattr(spawn.os, "kill", kill)
    monkeypatch.setattr(spawn, "children", {1, 2, 3})
    monkeypatch.setattr(spawn, "orphans", {4, 5, 6})
    spawn.reap()

    assert (spawn.children, spawn.orphans) == ({1}, {4, 6})
