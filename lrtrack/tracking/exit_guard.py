"""Noticing that a `with` block was left, also where an interrupt kept its exit from running.

Ctrl-C may come at the first instruction of a context manager's exit, of its `finally`, or between
two of them. No Python code can rule that out. But Python keeps the exit that it is going to call on
the stack of the `with` statement, or in an `ExitStack`, and drops it when the block is left by
whatever way. So the exit found here is an object made for one block, whose end is noticed: a
traceback, which keeps frames and what is in their variables, does not keep it.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any


class _Token:
    """Lives as long as the exit of one block."""

    __slots__ = ("__weakref__",)


class _Latest(threading.local):
    """The exit that this thread looked up last, and for which frame."""

    token: weakref.ref[_Token] | None = None
    frame: tuple[int, int] = (0, 0)


_latest = _Latest()


class Exit:
    """An `__exit__` of which the end is noticed; `function` is what it does."""

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function

    def __get__(self, instance: Any, owner: Any = None) -> Callable[..., None]:
        token = _Token()
        # In C all through: it cannot be interrupted before the function's own first instruction.
        found: Any = partial(self._function, *(() if instance is None else (instance,)))
        found.token = token
        _latest.token, _latest.frame = weakref.ref(token), _identity(sys._getframe(1))
        return found  # type: ignore[no-any-return]


def on_left(frame: FrameType, *callbacks: Callable[[Any], object]) -> list[weakref.ref[_Token]]:
    """Call `callbacks`, the first one first, when the block that is being entered is left.

    Args:
        frame: the one that enters it: that of the `with` statement, or of `enter_context`.
        *callbacks: called with one argument, which is of no use. An interrupt in the middle of one
            is lost; only one that is written in C cannot be interrupted.

    Returns:
        What must be kept for that; empty where the exit was not looked up in the usual way, so
        that nothing is noticed.
    """
    latest, _latest.token = _latest.token, None
    token = latest() if latest is not None else None
    if token is None or _latest.frame != _identity(frame):
        return []
    # Python calls the callback that was added last first.
    return [weakref.ref(token, callback) for callback in reversed(callbacks)]


def _identity(frame: FrameType) -> tuple[int, int]:
    return id(frame), id(frame.f_code)
