"""Queued runs whose journal cannot be read: those without a record, and a remedy for the others.

A process that is killed in its first moments, or that a full disk stops, leaves an entry in the
queue with an empty journal or half a frame. Nothing of these runs was recorded, so there is nothing
to deliver, now or later.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from pathlib import Path

from lrtrack.errors import ForeignJournal, JournalError
from lrtrack.journal import overflow
from lrtrack.journal.framing import PREAMBLE
from lrtrack.journal.layout import Layout, open_regular
from lrtrack.journal.obstacles import stranger_of
from lrtrack.journal.reader import JournalReader

#: Seconds after queueing within which a journal may be about to be created.
COMING = 10.0


def without_record(layout: Layout) -> list[str]:
    """Returns the queued runs of which nothing was recorded, and nothing will be."""
    return [
        run_id
        for run_id, queued in layout.markers().items()
        if abs(time.time() - queued / 1e9) > COMING and _is_empty(layout.journal(run_id))
    ]


def take_off(layout: Layout, run_ids: list[str]) -> None:
    """Removes runs without any record from the queue, and their journals."""
    for run_id in run_ids:
        with contextlib.suppress(OSError):
            if _is_empty(layout.journal(run_id)):  # still
                layout.journal(run_id).unlink(missing_ok=True)
                layout.marker(run_id).unlink(missing_ok=True)


def remedy(path: Path, error: Exception) -> str | None:
    """Returns what a user can do about a journal that cannot be read; None if `error` says it.

    Args:
        path: the journal.
        error: what was wrong with it.
    """
    if isinstance(error, ForeignJournal) or "Fix:" in str(error) or "upgrade" in str(error):
        return None
    if _is_empty(path):
        return "nothing of it was recorded, and `lrtrack sync` takes it off the queue"
    if stranger_of(path) is not None:
        return "run lrtrack as that user, or give the file to yourself with chown"
    return f"if you need nothing in it, rm {shlex.quote(str(path))}"


def _is_empty(path: Path) -> bool:
    """Returns whether there is no record in a journal, and nobody who writes one."""
    try:
        with open_regular(path) as file:
            head = file.read(len(PREAMBLE))
        if head != PREAMBLE:
            return PREAMBLE.startswith(head) and not overflow.has_parts(path)
        reader = JournalReader(path)
        if reader.alive() or next(reader.entries(), None) is not None or reader.damage:
            return False
    except FileNotFoundError:
        return path.parent.is_dir()
    except (JournalError, OSError):
        return False
    return not overflow.has_parts(path)
