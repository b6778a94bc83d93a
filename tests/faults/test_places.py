"""Places that are not what they should be: a deleted working directory, links, files of nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import lrtrack
from lrtrack.journal import segments
from lrtrack.journal.layout import Layout, touch
from lrtrack.journal.reader import JournalReader
from lrtrack.shipping import temporary
from lrtrack.shipping.queue_directory import QueueDirectory

from .training import train

STEPS = 3
LONG_AGO = time.time() - 3600.0


@pytest.fixture
def layout(clean_place: Path) -> Layout:
    """The journals of the working directory."""
    return Layout(clean_place / ".lrtrack")


@pytest.fixture
def gone(clean_place: Path, monkeypatch) -> Path:
    """A working directory that was deleted after torch had been imported, which needs one."""
    torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    folder = clean_place / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    return folder


def steps_of(layout: Layout) -> list[int]:
    """Returns how many steps each journal has."""
    return [JournalReader(path).table()[0].num_rows for path in layout.journals()]


def test_a_deleted_working_directory(gone: Path) -> None:
    """A training whose working directory is gone is recorded where it was, with one warning."""
    with pytest.warns(lrtrack.LRTrackWarning, match=f"directory {gone} was deleted") as caught:
        train(STEPS, tracker="local")

    assert len(caught) == 1
    assert steps_of(Layout(gone / ".lrtrack")) == [STEPS]


def test_a_deleted_working_directory_with_another_for_the_journals(
    layout: Layout, gone: Path, monkeypatch, recwarn
) -> None:
    """With `LRTRACK_DIR`, a deleted working directory changes nothing and stays deleted."""
    monkeypatch.setenv("LRTRACK_DIR", str(layout.root))
    train(STEPS, tracker="local")

    assert steps_of(layout) == [STEPS]
    assert not gone.exists()
    assert [str(warning.message) for warning in recwarn] == []


def test_the_command_line_in_a_deleted_directory(clean_place: Path) -> None:
    """The command line says that its working directory was deleted, and works from elsewhere."""
    code = """
import os, sys
from lrtrack.cli import main
os.mkdir("gone"), os.chdir("gone"), os.rmdir("../gone")
main(prog_name="lrtrack")
"""
    command = [sys.executable, "-P", "-c", code, "runs", "--tracker", "local"]
    process = subprocess.run(command, env=os.environ, capture_output=True, text=True)

    assert process.returncode == 1
    assert process.stderr.splitlines() == [
        f"Warning: the working directory {clean_place}/gone was deleted.",
        "Error: There are no runs to list.",
    ]


@pytest.mark.parametrize("kind", ["link", "file"])
def test_something_else_in_the_place_of_the_journals(
    kind: str, layout: Layout, clean_place: Path, lrtrack_command: Callable[..., Any]
) -> None:
    """A dangling link or a file in the place of the journals is named by each command."""
    if kind == "link":
        layout.root.symlink_to("/nowhere/journals")
        reason = "it is a symbolic link to /nowhere/journals, which does not exist"
    else:
        layout.root.touch()
        reason = "Not a directory"
    with pytest.warns(lrtrack.LRTrackWarning, match="Training continues") as caught:
        train(STEPS, tracker="local")
    synced, listed = lrtrack_command("sync"), lrtrack_command("runs", "--tracker", "local")

    assert [str(warning.message) for warning in caught] == [
        f"lrtrack cannot write to the journal directory {layout.root}: {reason}. Training "
        "continues without a record. Fix: set LRTRACK_DIR to a writable directory."
    ]
    assert (synced.exit_code, listed.exit_code) == (1, 1)
    assert synced.stderr == f"Error: Cannot read {layout.root}: {reason}.\n"
    assert listed.stderr == f"Error: Cannot read the journals under {layout.root}: {reason}.\n"


@pytest.fixture
def lrtrack_command() -> Callable[..., Any]:
    """Runs `lrtrack …` in this process."""
    from click.testing import CliRunner

    from lrtrack.cli import main

    return lambda *arguments: CliRunner().invoke(main, list(arguments))


def queue(layout: Layout, letter: str, content: bytes | None) -> Path:
    """Queues a run long ago, whose journal has this content; None: it is missing."""
    path = layout.journal(letter * 32)
    if content is not None:
        path.write_bytes(content)
    marker = layout.marker(letter * 32)
    marker.touch()
    os.utime(marker, (LONG_AGO, LONG_AGO))
    return path


def test_runs_of_which_nothing_was_recorded(
    layout: Layout, lrtrack_command: Callable[..., Any]
) -> None:
    """`sync` takes empty, half-written and missing journals off the queue, and says so once."""
    train(STEPS, tracker="local")
    (whole,) = (path.read_bytes() for path in layout.journals())
    for letter, content in {"a": b"", "b": whole[:7], "c": whole[:60], "d": None}.items():
        queue(layout, letter, content)
    (coming := layout.marker("e" * 32)).touch()
    first, second = lrtrack_command("sync"), lrtrack_command("sync")

    assert first.stderr.startswith("Taken off the queue: 4 runs without any record.\n")
    assert "Taken off" not in second.stderr
    assert layout.queued() == [coming.name]
    assert steps_of(layout) == [STEPS]


def test_a_journal_that_nobody_can_read(
    layout: Layout, lrtrack_command: Callable[..., Any]
) -> None:
    """A file that is no journal stays, and each message says how to get rid of it."""
    layout.create()
    path = queue(layout, "a", b"something else")
    synced = lrtrack_command("sync")
    path.unlink()
    after = lrtrack_command("sync")

    assert synced.exit_code == 1
    assert f"it is not a journal. Fix: if you need nothing in it, rm {path}" in synced.stderr
    assert "do as said above, then run `lrtrack sync` again" in synced.stderr
    assert (after.exit_code, layout.queued()) == (0, [])


def test_a_torn_journal_that_is_still_written(layout: Layout, lrtrack_command) -> None:
    """A run whose process is about to write its first record stays in the queue."""
    from lrtrack.journal.open_file import opened

    layout.create()
    path = queue(layout, "a", None)
    file, _ = opened(path)
    lrtrack_command("sync", "--timeout", "0")
    while_written = layout.queued()
    file.close()

    assert while_written == ["a" * 32]


def test_what_is_touched_through_a_link(layout: Layout, clean_place: Path) -> None:
    """A link in the place of a file that lrtrack touches is replaced, and not followed."""
    layout.create()
    victim = clean_place / "victim"
    victim.write_text("precious")
    os.utime(victim, (1.0, 1.0))
    for path in (layout.wake, layout.marker("a" * 32)):
        path.symlink_to(victim)
        touch(path)
        assert not path.is_symlink()
    layout.wake.unlink()
    layout.wake.symlink_to(clean_place / "new")
    touch(layout.wake)

    assert (victim.read_text(), victim.stat().st_mtime) == ("precious", 1.0)
    assert not (clean_place / "new").exists()


@pytest.mark.parametrize("where", ["tmp", "own"])
def test_a_link_among_temporary_files(layout: Layout, clean_place: Path, where: str) -> None:
    """A link among the temporary files is replaced; nothing is written or deleted at its target."""
    layout.create()
    left = clean_place / "victim" / "host-1"
    left.mkdir(parents=True)
    os.utime(left, (1.0, 1.0))
    planted = layout.temporary if where == "tmp" else temporary.path_of(layout)
    planted.parent.mkdir(exist_ok=True)
    planted.symlink_to(left.parent)
    (layout.temporary / "other-1").symlink_to(left) if where == "own" else None
    with temporary.throughout(layout), temporary.folder(layout) as folder:
        (folder / "file").touch()
        real = folder.resolve()

    assert real.is_relative_to(layout.root)
    assert list(left.parent.rglob("*")) == [left]
    assert not planted.is_symlink()


def test_a_link_in_the_place_of_later_segments(
    layout: Layout, clean_place: Path, monkeypatch
) -> None:
    """A link where a long journal goes on is replaced, and nothing is written at its target."""
    monkeypatch.setattr(segments, "LIMIT", 1000)
    target = clean_place / "elsewhere"
    target.mkdir()

    def plant() -> None:
        (path,) = layout.journals()
        segments.folder_of(path).symlink_to(target)

    train(200, tracker="local", at={0: plant})
    (path,) = layout.journals()

    assert list(target.iterdir()) == []
    assert len(segments.segments_of(path)) > 1
    assert steps_of(layout) == [200]


def test_a_named_pipe_in_the_queue(layout: Layout) -> None:
    """A shipper is not stopped by a named pipe in the place of a journal that was just queued."""
    layout.create()
    os.mkfifo(layout.journal("a" * 32))
    touch(layout.marker("a" * 32))
    waiting = QueueDirectory(layout)
    waiting.look()

    assert not waiting.may_come("a" * 32)


def test_a_store_in_a_directory_that_is_gone(clean_place: Path, monkeypatch) -> None:
    """A default store is not created elsewhere when the training's directory is missing."""
    from lrtrack.errors import TrackerUnavailable
    from lrtrack.trackers.mlflow.store import client

    missing = str(clean_place / "missing")
    for uri in (None, "sqlite:///mlflow.db"):
        with pytest.raises(TrackerUnavailable, match=f"{missing}, where the store would be"):
            client(uri, missing)
    assert list(clean_place.iterdir()) == []
