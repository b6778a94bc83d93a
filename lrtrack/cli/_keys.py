"""Keys pressed on a terminal, without Enter and without waiting."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Returns the key that was pressed within so many seconds; empty if none was.
NextKey = Callable[[float], str]

#: What terminals send for the arrow keys.
_ARROWS = {"\x1b[A": "up", "\x1b[B": "down", "\x1bOA": "up", "\x1bOB": "down"}


@contextmanager
def keyboard() -> Iterator[NextKey | None]:
    """Read single keys from stdin while the block runs; None if that is no terminal of Unix."""
    try:
        import termios
        import tty
    except ImportError:  # Windows
        yield None
        return
    if not sys.stdin.isatty():
        yield None
        return
    file = sys.stdin.fileno()
    settings = termios.tcgetattr(file)
    try:
        tty.setcbreak(file)
        yield lambda seconds: _pressed(file, seconds)
    finally:
        termios.tcsetattr(file, termios.TCSADRAIN, settings)


def _pressed(file: int, seconds: float) -> str:
    try:
        ready, _, _ = select.select([file], [], [], max(seconds, 0.0))
    except InterruptedError:  # the terminal's size has changed
        return ""
    if not ready:
        return ""
    keys = os.read(file, 16).decode(errors="replace")
    if not keys:  # the terminal has gone
        time.sleep(seconds)
        return "q"
    return _ARROWS.get(keys, keys[:1])
