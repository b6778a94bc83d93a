"""Everything lrtrack raises or warns.

LRTrackError                 what a caller may catch
├── UsageError               the user's own mistake: said at once, exit status 2
│   └── MissingPackage       a package is not installed, or too old; an ImportError, too
├── NothingFound             nothing to report on, exit status 1
├── JournalError             a journal that cannot be written or read
│   └── ForeignJournal       a journal that this user neither wrote nor accepted
└── TrackerError             a tracker refused a request for good
    ├── AccessRefused        by reason of the credentials
    └── TrackerUnavailable   a tracker that may answer later: worth another try

LRTrackWarning               training goes on; the text says what is lost or late
LRTrackNotice                nothing is wrong; the text says what lrtrack decided by itself
"""

from __future__ import annotations

import contextlib
import difflib
import re
import sys
import unicodedata
import warnings
from collections.abc import Iterable, Iterator

_ANSI = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # titles
    r"|\x1b[ -/]*[0-~]"
)


class LRTrackError(Exception):
    """Base of all of lrtrack's errors; `exit_status` is what the command line returns."""

    exit_status = 1


class UsageError(LRTrackError, ValueError):
    """An argument, an option or a configuration file says something impossible."""

    exit_status = 2


class MissingPackage(UsageError, ImportError):
    """A package that is not installed, or too old; the message has the `pip install` line."""


class NothingFound(LRTrackError):
    """The experiment or the runs asked for are not there."""


class JournalError(LRTrackError):
    """A journal could not be written, or is not a journal."""


class ForeignJournal(JournalError):
    """A journal that this user neither wrote nor accepted: its contents are not acted on."""


class TrackerError(LRTrackError):
    """The tracker refused, and would refuse again.

    Args:
        message: what happened.
        fix: what to do about it, where it refused the credentials.
    """

    def __init__(self, message: str = "", fix: str = "") -> None:
        super().__init__(f"{message}: {fix}" if fix else message)
        self.reason = message
        self.fix = fix


class AccessRefused(TrackerError):
    """The tracker does not accept the credentials, for this run or any other."""


class TrackerUnavailable(TrackerError):
    """The tracker did not answer, or asked for patience.

    Args:
        message: what happened.
        retry_after: seconds after which it wants to be asked again; None: it did not say.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SinkLost(TrackerUnavailable):
    """A sink lost what it had taken; the run is to be delivered again from its beginning."""


class DiskTrouble(TrackerUnavailable):
    """This machine's disk does not take what must be kept of a delivery; tells of no tracker."""


class PartRefused(TrackerError):
    """The run is ended in the tracker, but a part of it was refused for good.

    Args:
        message: why, and what to do.
        part: what is missing.
    """

    def __init__(self, message: str, part: str = "the outcome") -> None:
        super().__init__(message)
        self.part = part


class PartUnavailable(TrackerUnavailable):
    """The run is ended in the tracker; a part of it may still be taken later."""


class LRTrackWarning(UserWarning):
    """Something is missing or late; training is not affected."""


class LRTrackNotice(UserWarning):
    """Names what `notice` prints, for warning filters; nothing raises or issues it."""


def unknown(kind: str, given: str, known: Iterable[str]) -> str:
    """Say that `given` is no `kind` that is `known`, name the nearest one and list all."""
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=3, cutoff=0.6)
    meant = f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
    listed = ", ".join(names) if names else "none"
    return f"Unknown {kind} {given!r}.{meant} There is: {listed}."


def clean(text: str) -> str:
    """`text` on one line without anything that steers a terminal or reorders what is read."""
    return "".join(map(_blank, _printable(text))).strip()


def shown(text: str) -> str:
    """The `text` of several lines as it may be printed, whoever wrote the parts of it."""
    return "".join(char if char == "\n" else _blank(char) for char in _printable(text)).rstrip()


def _printable(text: str) -> Iterator[str]:
    for char in _ANSI.sub("", text):
        if char.isspace() or unicodedata.category(char) not in ("Cc", "Cf", "Cs"):
            yield char


def _blank(char: str) -> str:
    return " " if char.isspace() else char


def warn(message: str) -> None:
    """Warn, and never raise: not even where the user turned warnings into errors, or shows them
    by something of his own that breaks.

    A warning of lrtrack may come up in the middle of an optimizer step, weeks into a training.
    The line of lrtrack that noticed is of no use to anyone: only the `message` is shown.
    """
    message = shown(message)
    try:
        warnings.warn_explicit(message, LRTrackWarning, "lrtrack", 0)
    except Exception:
        _print(message)


def notice(message: str) -> None:
    """Print one line on stderr that is no warning: it is never raised, recorded or counted as one.

    The filters that silence warnings silence it, too: `simplefilter("ignore", LRTrackNotice)`, or
    `PYTHONWARNINGS=ignore`.

    Args:
        message: one sentence or a few.
    """
    message = shown(message)
    for action, text, category, module, line in tuple(warnings.filters):
        matches = (text is None or text.match(message)) and issubclass(LRTrackNotice, category)
        if matches and (module is None or module.match("lrtrack")) and not line:
            if action == "ignore":
                return
            break
    _print(message)


def _print(message: str) -> None:
    with contextlib.suppress(Exception):
        print(f"lrtrack: {message}", file=sys.stderr)
