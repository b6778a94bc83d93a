"""Importing scipy while many runs are read."""

from __future__ import annotations

import threading

import pytest

from lrtrack.comparing import preloading


@pytest.fixture
def imported(monkeypatch) -> list[str]:
    """What was imported, of which nothing is really loaded."""
    names: list[str] = []
    monkeypatch.setattr(preloading, "load", names.append)
    return names


def wait_for_import() -> None:
    """Wait for the thread that imports, if there is one."""
    for thread in threading.enumerate():
        if thread.name == "lrtrack-import":
            thread.join()


@pytest.mark.parametrize(("total", "expected"), [(9, []), (10, ["scipy.special"])])
def test_scipy_is_imported_once_while_many_runs_are_read(imported, total, expected):
    """The first of at least ten runs begins the import, and every call reaches the user's own."""
    calls: list[tuple[int, int]] = []
    note = preloading.import_meanwhile(lambda done, total: calls.append((done, total)))
    for done in range(1, total + 1):
        note(done, total)
    wait_for_import()

    assert expected == imported
    assert [(done, total) for done in range(1, total + 1)] == calls


def test_a_broken_scipy_does_not_break_reading(monkeypatch):
    """An import that fails is left to the figure that needs it, and no callback is needed."""
    raised = []

    def broken(name: str) -> None:
        raised.append(name)
        raise ImportError(name)

    monkeypatch.setattr(preloading, "load", broken)
    monkeypatch.setattr(threading, "excepthook", lambda args: raised.append("in the thread"))
    preloading.import_meanwhile(None)(1, 100)
    wait_for_import()

    assert raised == ["scipy.special"]
