"""Notices that a `with` block was left, even if an interrupt kept its exit from running.

Ctrl-C can arrive at the first instruction of a context manager's exit, of its `finally`, or between
the two. No Python code can rule that out. But Python keeps the exit that it will call on the stack
of the `with` statement, or in an `ExitStack`, and drops it when the block is left in any way. So
the exit here is an object made for one block, and its deletion shows that the block was left. A
traceback keeps frames and their variables alive, but not this object.
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
    """The exit that this thread looked up last, and the frame that did so."""

    token: weakref.ref[_Token] | None = None
    frame: tuple[int, int] = (0, 0)


_latest = _Latest()


class Exit:
    """An `__exit__` that calls `function`, and whose deletion is noticed."""

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function

    def __get__(self, instance: Any, owner: Any = None) -> Callable[..., None]:
        token = _Token()
        # A partial runs in C, so it cannot be interrupted before the function's first instruction.
        exit_call: Any = partial(self._function, *(() if instance is None else (instance,)))
        exit_call.token = token
        _latest.token, _latest.frame = weakref.ref(token), _identity(sys._getframe(1))
        return exit_call  # type: ignore[no-any-return]


def on_left(frame: FrameType, *callbacks: Callable[[Any], object]) -> list[weakref.ref[_Token]]:
    """Call `callbacks` in order when the block that is being entered is left.

    Args:
        frame: the frame that enters it, of the `with` statement or of `enter_context`.
        *callbacks: called with one argument, to be ignored. An interrupt in the middle of one is
            lost; only a callback written in C cannot be interrupted.

    Returns:
        References that the caller must keep; empty if the exit was not looked up in the usual way,
        in which case nothing is noticed.
    """
    latest, _latest.token = _latest.token, None
    token = latest() if latest is not None else None
    if token is None or _latest.frame != _identity(frame):
        return []
    # Python calls the callback that was added last first.
    return [weakref.ref(token, callback) for callback in reversed(callbacks)]


def _identity(frame: FrameType) -> tuple[int, int]:
    return id(frame), id(frame.f_code)
