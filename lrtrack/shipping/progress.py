"""Waits until a run is delivered, with a progress bar on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from lrtrack.errors import is_terminal
from lrtrack.journal.layout import Layout
from lrtrack.journal.segments import size_of
from lrtrack.records import Target
from lrtrack.shipping.cursor import Cursor

PERIOD = 0.02
#: Shorter waits show nothing.
PATIENCE = 0.5


def cursors(layout: Layout, run_id: str, targets: Sequence[Target]) -> list[Cursor]:
    """Returns the delivery states of a run, one per target."""
    return [Cursor.load(layout.cursor(run_id, target.tracker)) for target in targets]


def wait(
    states: Callable[[], Sequence[Cursor]],
    done: Callable[[Cursor], bool],
    size: int,
    timeout: float,
    upkeep: Callable[[], None] = lambda: None,
) -> bool:
    """Waits until `done` holds for all of `states()`, at most `timeout` seconds.

    A tracker that refused for good is not waited for. On a terminal, a bar shows how many of the
    journal's `size` bytes are delivered.

    Returns:
        Whether all are done.
    """
    start = time.monotonic()
    bar = None
    try:
        while True:
            now = states()
            if all(done(state) for state in now):
                return True
            elapsed = time.monotonic() - start
            if elapsed >= timeout or all(done(state) or state.given_up for state in now):
                return False
            if bar is None and elapsed > PATIENCE and is_terminal(sys.stderr):
                bar = _Bar(size)
                bar.open()
            if bar is not None:
                bar.show(min(state.offset for state in now))
            upkeep()
            time.sleep(PERIOD)
    finally:
        if bar is not None:
            bar.close()


def journal_size(path: Path) -> int:
    """Returns the bytes of the journal as it was written, 0 if there is none."""
    try:
        return size_of(path)
    except OSError:
        return 0


class _Bar:
    """A progress bar on stderr."""

    def __init__(self, size: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("lrtrack: delivering"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("", total=size or 1)

    def open(self) -> None:
        with suppress(OSError):  # the terminal may be gone, and the upload goes on
            self._progress.start()

    def show(self, offset: int) -> None:
        with suppress(OSError):
            self._progress.update(self._task, completed=offset)

    def close(self) -> None:
        with suppress(OSError):
            self._progress.stop()
