"""Imports scipy while runs are read: most of that time goes to a disk or a server."""

from __future__ import annotations

import threading
from contextlib import suppress

from lrtrack._optional import load
from lrtrack.trackers.base import Progress

#: Fewer runs are read before the import is done, and may need no figure of scipy's.
_MANY = 10
#: What nearly every comparison of several seeds needs.
_NEEDED = "scipy.special"


def import_meanwhile(progress: Progress | None) -> Progress:
    """Return a callback for reading runs that begins the import at the first of many runs.

    Args:
        progress: the callback of the user; called each time too.
    """
    begun = threading.Event()

    def note(done: int, total: int) -> None:
        if total >= _MANY and not begun.is_set():
            begun.set()
            # Not a daemon: an interpreter that exits in the middle of an import may crash.
            threading.Thread(target=_import, name="lrtrack-import").start()
        if progress is not None:
            progress(done, total)

    return note


def _import() -> None:
    with suppress(Exception):  # the figure that needs it reports what is wrong
        load(_NEEDED)
