"""What is said when something is wrong, and that saying it never hurts."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import pytest

from lrtrack.errors import (
    JournalError,
    LRTrackError,
    LRTrackWarning,
    NothingFound,
    TrackerError,
    TrackerUnavailable,
    UsageError,
    is_terminal,
    notice,
    unknown,
    warn,
)


@pytest.mark.parametrize(
    ("kind", "status"),
    [(UsageError, 2), (NothingFound, 1), (JournalError, 1), (TrackerError, 1)],
)
def test_exit_status(kind: type[LRTrackError], status: int) -> None:
    """A user's own mistake ends the command line with 2, everything else with 1."""
    assert kind("x").exit_status == status
    assert isinstance(kind("x"), LRTrackError)


def test_an_unavailable_tracker_may_ask_for_patience() -> None:
    """`retry_after` is kept, and the error is a tracker's error."""
    error = TrackerUnavailable("busy", 2.5)

    assert (str(error), error.retry_after) == ("busy", 2.5)
    assert isinstance(error, TrackerError)
    assert TrackerUnavailable("down").retry_after is None


@pytest.mark.parametrize(
    ("given", "known", "text"),
    [
        (
            "mlfow",
            ["wandb", "mlflow", "local"],
            "Unknown tracker 'mlfow'. Did you mean 'mlflow'? Available: local, mlflow, wandb.",
        ),
        (
            "abd",
            ["abe", "abc"],
            "Unknown tracker 'abd'. Did you mean 'abe' or 'abc'? Available: abc, abe.",
        ),
        ("zzz", ["local"], "Unknown tracker 'zzz'. Available: local."),
        ("zzz", [], "Unknown tracker 'zzz'. Available: none."),
        ("", iter(["b", "a"]), "Unknown tracker ''. Available: a, b."),
    ],
)
def test_unknown_lists_what_exists(given, known, text: str) -> None:
    """The nearest names come first, then all of them in order."""
    assert unknown("tracker", given, known) == text


def test_every_warning_is_shown() -> None:
    """The same text twice is two warnings of lrtrack's own category."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        warn("once")
        warn("once")

    assert [str(w.message) for w in caught] == ["once", "once"]
    assert {w.category for w in caught} == {LRTrackWarning}


def test_warn_does_not_raise_where_warnings_are_errors(capsys) -> None:
    """Under `-W error` the text goes to stderr instead."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn("the disk is full")

    assert capsys.readouterr().err == "lrtrack: the disk is full\n"


def test_warn_does_not_raise_where_showing_fails(capsys, monkeypatch) -> None:
    """A `showwarning` of the user's own that breaks, and a closed stderr, hurt nobody."""

    def broken(*args, **kwargs):
        raise ZeroDivisionError

    class Closed:
        def write(self, text: str) -> int:
            raise ValueError("I/O operation on closed file")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", broken)
        warn("first")
        shown = capsys.readouterr().err
        monkeypatch.setattr(sys, "stderr", Closed())
        warn("second")

    assert shown == "lrtrack: first\n"


class Gone:
    """A stream whose terminal was closed."""

    def isatty(self) -> bool:
        """Fails as a closed file does."""
        raise ValueError("I/O operation on closed file")


def test_without_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where Python started without standard error, messages do not go to standard output."""
    monkeypatch.setattr(sys, "stderr", None)
    notice("for the user")
    warn("also for the user")

    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("stream", [None, Gone()])
def test_a_missing_stream_is_no_terminal(stream: Any) -> None:
    """A standard stream that is closed can be asked whether it is a terminal."""
    assert is_terminal(stream) is False
