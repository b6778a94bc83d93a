"""The exceptions and warnings of lrtrack, and the functions that print messages safely.

LRTrackError                 base class of every error
├── UsageError               wrong input by the user, reported immediately; exit status 2
│   └── MissingPackage       a package is missing or too old; also an ImportError
├── NothingFound             there are no such runs; exit status 1
├── JournalError             a journal cannot be written or read
│   └── ForeignJournal       a journal that this user neither wrote nor accepted
└── TrackerError             a tracker rejected a request permanently
    ├── AccessRefused        because of the credentials
    └── TrackerUnavailable   temporarily: the request can be retried

LRTrackWarning               data is lost or late; training continues
LRTrackNotice                nothing is wrong; reports a decision that lrtrack made
"""

from __future__ import annotations

import contextlib
import difflib
import re
import sys
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from typing import TextIO

_ANSI = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # titles
    r"|\x1b[ -/]*[0-~]"
)


class LRTrackError(Exception):
    """The base class of lrtrack's errors; `exit_status` is the command line's exit status."""

    exit_status = 1


class UsageError(LRTrackError, ValueError):
    """An argument, an option or a configuration file has an invalid value."""

    exit_status = 2


class MissingPackage(UsageError, ImportError):
    """A package is missing or too old; the message contains the `pip install` command."""


class TrainingStopped(LRTrackError):
    """A diagnosis has ended the training, as `stop_on` of `track()` wants it.

    It is raised just before an optimizer step, so weights, optimizer and scheduler are those after
    step `step`, and a checkpoint saved now continues there.

    Args:
        diagnosis: why: a mapping with `"code"`, `"message"` and `"hint"`; also an attribute.
        step: the last optimizer step that was made; also an attribute.
    """

    def __init__(self, diagnosis: dict[str, str], step: int) -> None:
        super().__init__(diagnosis, step)
        self.diagnosis = diagnosis
        self.step = step

    def __str__(self) -> str:
        """What happened, when, and how to fix it."""
        code, message, hint = (self.diagnosis.get(n, "") for n in ("code", "message", "hint"))
        return f"stopped after step {self.step} by {code}: {message} Fix: {hint}."


class NothingFound(LRTrackError):
    """The requested experiment or runs do not exist."""


class JournalError(LRTrackError):
    """A journal cannot be written, or a file is not a journal."""


class ForeignJournal(JournalError):
    """A journal that this user neither wrote nor accepted, so lrtrack does not use it."""


class TrackerError(LRTrackError):
    """The tracker rejected a request and would reject it again.

    Args:
        message: what happened.
        fix: how to fix it, for rejected credentials.
    """

    def __init__(self, message: str = "", fix: str = "") -> None:
        super().__init__(f"{message}: {fix}" if fix else message)
        self.reason = message
        self.fix = fix


class AccessRefused(TrackerError):
    """The tracker rejected the credentials, which affects every run."""


class TrackerUnavailable(TrackerError):
    """The tracker did not answer, or asked to retry later.

    Args:
        message: what happened.
        retry_after: seconds to wait before a retry, as the tracker requested; None if it did not.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SinkLost(TrackerUnavailable):
    """A sink lost data that it had accepted; the run must be delivered again from the start."""


class DiskTrouble(TrackerUnavailable):
    """The state of a delivery cannot be saved on the local disk; the tracker works."""


class PartRefused(TrackerError):
    """The run is ended in the tracker, but the tracker permanently rejected a part of it.

    Args:
        message: the reason, and how to fix it.
        part: the part that is missing.
    """

    def __init__(self, message: str, part: str = "the outcome") -> None:
        super().__init__(message)
        self.part = part


class PartUnavailable(TrackerUnavailable):
    """The run is ended in the tracker; uploading a part of it failed and can be retried."""


class LRTrackWarning(UserWarning):
    """Data is missing or late; training is not affected."""


class LRTrackNotice(UserWarning):
    """The category by which warning filters silence `notice`; it is never raised or issued."""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Build the message for an unknown name, with the nearest known names as suggestions.

    Args:
        kind: what is named, such as `"tracker"`.
        name: the unknown name.
        known: all valid names; the message lists them.
    """
    names = sorted(known)
    matches = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    suggestion = f" Did you mean {' or '.join(map(repr, matches))}?" if matches else ""
    listed = ", ".join(names) if names else "none"
    return f"Unknown {kind} {name!r}.{suggestion} Available: {listed}."


def clean(text: str) -> str:
    """Return `text` on one line, without control sequences or characters that reorder text."""
    return "".join(map(_blank, _printable(text))).strip()


def shown(text: str) -> str:
    """Return `text` with its line breaks, made safe to print even if others wrote parts of it."""
    return "".join(char if char == "\n" else _blank(char) for char in _printable(text)).rstrip()


def _printable(text: str) -> Iterator[str]:
    for char in _ANSI.sub("", text):
        if char.isspace() or unicodedata.category(char) not in ("Cc", "Cf", "Cs"):
            yield char


def _blank(char: str) -> str:
    return " " if char.isspace() else char


def warn(message: str) -> None:
    """Issue an LRTrackWarning without ever raising.

    It does not raise even if the user turned warnings into errors or replaced the function that
    shows them with one that fails: a warning may occur in the middle of an optimizer step, weeks
    into a training. Only `message` is shown, because lrtrack's source line does not help users.
    """
    message = shown(message)
    try:
        warnings.warn_explicit(message, LRTrackWarning, "lrtrack", 0)
    except Exception:
        _print(message)


def notice(message: str) -> None:
    """Print a message on stderr that is never raised, recorded or counted as a warning.

    Filters that silence warnings also silence it: `simplefilter("ignore", LRTrackNotice)`, or
    `PYTHONWARNINGS=ignore`.

    Args:
        message: one or a few sentences.
    """
    message = shown(message)
    for action, text, category, module, line in tuple(warnings.filters):
        matches = (text is None or text.match(message)) and issubclass(LRTrackNotice, category)
        if matches and (module is None or module.match("lrtrack")) and not line:
            if action == "ignore":
                return
            break
    _print(message)


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal.

    Args:
        stream: False for one that is closed, or None, which stands for one that was closed when
            Python started.
    """
    try:
        return stream is not None and stream.isatty()
    except (OSError, ValueError):
        return False


def _print(message: str) -> None:
    with contextlib.suppress(Exception):
        if sys.stderr is not None:  # closed: `print` would write to stdout instead
            print(f"lrtrack: {message}", file=sys.stderr)
