"""Closes what a block has opened, whatever fails or hangs there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from lrtrack.errors import warn

#: Seconds to wait for what may hang.
PATIENCE = 1.0


def run_all(actions: Iterable[Callable[[], object]]) -> None:
    """Call each action, also after one that failed, which is a warning."""
    for action in actions:
        try:
            action()
        except Exception as error:
            warn(f"lrtrack could not close a block properly: {error!r}.")


def bounded(action: Callable[[], object]) -> Callable[[], None]:
    """Make a function that calls `action` in a thread, and waits for it `PATIENCE` seconds at most.

    For actions that use a file system which may never answer.
    """

    def start() -> None:
        thread = threading.Thread(target=action, name="lrtrack-leaving", daemon=True)
        thread.start()
        thread.join(PATIENCE)

    return start
