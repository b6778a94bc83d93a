"""Temporary files of deliveries: where they are, and what is removed when."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from lrtrack.journal.layout import Layout, host
from lrtrack.shipping import temporary
from lrtrack.shipping.lock import held
from lrtrack.shipping.temporary import LEFT, LEFT_ELSEWHERE


def test_a_folder_exists_while_it_is_used(layout: Layout) -> None:
    """A folder is below the process's own, private, and leaves nothing behind."""
    with temporary.folder(layout) as folder, temporary.folder(layout) as other:
        assert folder.parent == other.parent == temporary.path_of(layout)
        assert folder.parent.stat().st_mode & 0o777 == 0o700
        assert folder != other

    assert not layout.temporary.exists()


def test_all_temporary_files_of_a_process(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Throughout a block, everything temporary is there, and locked; then all is as before."""
    monkeypatch.setenv("TMPDIR", "/before")
    before = tempfile.tempdir
    place = temporary.path_of(layout)
    with temporary.throughout(layout):
        with temporary.folder(layout):
            pass
        inside = tempfile.gettempdir(), os.environ["TMPDIR"], held(place / "lock")

    assert inside == (str(place), str(place), True)
    assert (tempfile.tempdir, os.environ["TMPDIR"]) == (before, "/before")
    assert not layout.temporary.exists()


def test_a_process_without_a_variable(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that was not set is not set afterwards, wherever the folder has gone meanwhile."""
    monkeypatch.delenv("TMPDIR", raising=False)
    with temporary.throughout(layout):
        shutil.rmtree(layout.temporary)

    assert "TMPDIR" not in os.environ


def left(layout: Layout, name: str, age: float) -> Path:
    """A folder that a process left so many seconds ago."""
    path = layout.temporary / name
    path.mkdir(parents=True)
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.mark.parametrize(
    ("machine", "age", "is_removed"),
    [
        (host(), LEFT - 60.0, False),
        (host(), LEFT + 60.0, True),
        ("gone", LEFT_ELSEWHERE - 60.0, False),
        ("gone", LEFT_ELSEWHERE + 60.0, True),
    ],
)
def test_how_long_a_folder_stays(
    layout: Layout, machine: str, age: float, is_removed: bool
) -> None:
    """A dead process's folder is removed after an hour, on another machine after a day."""
    path = left(layout, f"{machine}-999999999-t00000000", age)
    with temporary.throughout(layout):
        assert path.exists() is not is_removed


def test_a_folder_that_cannot_be_removed(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays, and the others are removed all the same; what is not lrtrack's stays, too."""
    paths = [left(layout, f"{host()}-99999999{digit}", 1e6) for digit in range(4)]
    strange = left(layout, "no name of ours", 1e6)
    remove, refused = os.rmdir, []

    def rmdir(path: Any, **options: Any) -> None:
        if not refused:
            refused.append(Path(path).name)
            raise PermissionError(path)
        remove(path, **options)

    monkeypatch.setattr(os, "rmdir", rmdir)
    with temporary.throughout(layout):
        stayed = [path.name for path in paths if path.exists()]

    assert stayed == refused
    assert strange.exists()


@pytest.mark.parametrize(
    ("error", "lives"), [(None, True), (PermissionError, True), (ProcessLookupError, False)]
)
def test_which_processes_live(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, error: type[OSError] | None, lives: bool
) -> None:
    """A process that may not be asked lives, and its folder stays; one without an id does not."""

    def kill(process: int, number: int) -> None:
        assert (process, number) == (999999999, 0)
        if error is not None:
            raise error

    monkeypatch.setattr(os, "kill", kill)
    path = left(layout, f"{host()}-999999999", 1e6)
    with temporary.throughout(layout):
        assert path.exists() is lives
