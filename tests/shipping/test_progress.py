"""Waiting for an upload, with a bar on standard error where that is a terminal."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lrtrack.shipping import progress
from lrtrack.shipping.cursor import Cursor


class Vanished(io.StringIO):
    """A terminal whose connection is lost."""

    def isatty(self) -> bool:
        """Still looks like a terminal."""
        return True

    def write(self, text: str) -> int:
        """Fails as a terminal does that is gone."""
        raise OSError(5, "Input/output error")

    def flush(self) -> None:
        """Fails as well."""
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("stream", [None, Vanished()], ids=["closed", "vanished"])
def test_a_wait_whose_bar_cannot_be_drawn(monkeypatch: pytest.MonkeyPatch, stream) -> None:
    """An upload is waited for to its end where standard error is closed or its terminal is gone."""
    monkeypatch.setattr(progress, "PATIENCE", -1.0)
    monkeypatch.setattr(sys, "stderr", stream)
    offsets = iter([0, 5, 10])
    states = lambda: [Cursor(offset=next(offsets))]  # noqa: E731

    assert progress.wait(states, lambda cursor: cursor.offset >= 10, 10, 60.0) is True


def waits(
    monkeypatch: pytest.MonkeyPatch, *states: list[Cursor], timeout: float = 0.1
) -> tuple[bool, int, int]:
    """Waits for closed deliveries; returns whether they are, and how often was looked and kept up.

    The last of the states stays.
    """
    now, looks, upkeep = [50.0], [], []
    clock = SimpleNamespace(
        monotonic=lambda: now[0], sleep=lambda seconds: now.append(now.pop() + seconds)
    )
    monkeypatch.setattr(progress, "time", clock)

    def look() -> list[Cursor]:
        looks.append(now[0])
        return states[min(len(looks), len(states)) - 1]

    done = progress.wait(look, lambda each: each.closed, 10, timeout, lambda: upkeep.append(1))
    return done, len(looks), len(upkeep)


def test_how_often_is_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait looks fifty times a second, and at least once, until its time is over."""
    open_ = [Cursor(), Cursor(closed=True)]

    assert waits(monkeypatch, open_, timeout=0.09) == (False, 6, 5)
    assert waits(monkeypatch, open_, timeout=0.0) == (False, 1, 0)


def test_when_a_wait_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait ends when all are done, or when those that are not were refused for good."""
    done, refused, open_ = Cursor(closed=True), Cursor(given_up=True), Cursor()

    assert waits(monkeypatch, [done, done]) == (True, 1, 0)
    assert waits(monkeypatch, [open_], [done]) == (True, 2, 1)
    assert waits(monkeypatch, [done, refused]) == (False, 1, 0)
    assert waits(monkeypatch, [open_, refused], [done, refused]) == (False, 2, 1)


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """After half a second a terminal has a bar with the offset of the slowest tracker."""
    shown: list[object] = []

    class Bar:
        def __init__(self, size: int) -> None:
            shown.append(size)

        def open(self) -> None:
            shown.append("open")

        def show(self, offset: int) -> None:
            shown.append(offset)

        def close(self) -> None:
            shown.append("close")

    monkeypatch.setattr(progress, "_Bar", Bar)
    monkeypatch.setattr(progress, "PERIOD", 0.25)
    for is_terminal in (False, True):
        monkeypatch.setattr(progress, "is_terminal", lambda stream, found=is_terminal: found)
        waits(monkeypatch, [Cursor(offset=7), Cursor(offset=3)], timeout=1.0)

    assert shown == [10, "open", 3, "close"]


def test_the_size_of_a_journal(tmp_path: Path) -> None:
    """A journal that is missing has no bytes."""
    assert progress.journal_size(tmp_path / f"{'a' * 32}.journal") == 0
