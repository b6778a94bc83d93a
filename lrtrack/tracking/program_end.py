"""How the program ended, for what runs at its end: Python tells neither exception nor exit status.

- An uncaught exception is in `sys.last_value`, and the main module's frame is in its traceback.
- `SystemExit` leaves nothing. The main module's frame then stands at another instruction than a
  return, and `sys.exit()`, `exit()` and `quit()` have noted their status. For `raise SystemExit(…)`
  at the top level, the instructions tell it.
"""

from __future__ import annotations

import builtins
import dis
import sys
import threading
from collections.abc import Callable
from functools import wraps
from types import FrameType
from typing import Any

#: Called with a thread's identifier and the exception that ended it.
OnThreadEnded = Callable[[int | None, BaseException | None], None]


class ProgramEnd:
    """Observes, until `restore`, how the program ends.

    Args:
        on_thread_ended: called when an exception ends a thread other than the main one.
    """

    def __init__(self, on_thread_ended: OnThreadEnded) -> None:
        self._main = _main_frame()
        self._status: Any = None
        self._has_status = False
        self._undo: list[Callable[[], None]] = []
        self._replace(sys, "exit", self._noting(sys.exit, 0))
        quitter: Any = type(getattr(builtins, "exit", None))
        if quitter.__name__ == "Quitter":  # not without the module `site`
            self._replace(quitter, "__call__", self._noting(quitter.__call__, 1))
        self._replace(threading, "excepthook", _chained(threading.excepthook, on_thread_ended))

    def restore(self) -> None:
        """Put back what was replaced. Idempotent."""
        while self._undo:
            self._undo.pop()()

    def failed(self) -> bool:
        """Whether an exception or another exit status than 0 has ended the program."""
        if self._main is None or _has_returned(self._main):
            return False
        if self._uncaught() is not None:
            return True
        if self._has_status:
            return _is_failure(self._status)
        return _raised_failure(self._main)

    def interrupted(self) -> bool:
        """Whether Ctrl-C has ended it."""
        return isinstance(self._uncaught(), KeyboardInterrupt)

    def _uncaught(self) -> BaseException | None:
        error = getattr(sys, "last_value", None)
        trace = getattr(error, "__traceback__", None)
        while trace is not None:
            if trace.tb_frame is self._main:
                return error
            trace = trace.tb_next
        return None

    def _noting(self, function: Callable[..., Any], at: int) -> Callable[..., Any]:
        """A function that notes the status which is its argument `at`, and calls `function`."""

        @wraps(function)
        def noting(*args: Any, **kwargs: Any) -> Any:
            self._status = args[at] if len(args) > at else next(iter(kwargs.values()), None)
            self._has_status = True
            return function(*args, **kwargs)

        return noting

    def _replace(self, owner: Any, name: str, new: Callable[..., Any]) -> None:
        old = getattr(owner, name)

        def undo() -> None:
            if getattr(owner, name) is new:  # otherwise others have replaced it since
                setattr(owner, name, old)

        setattr(owner, name, new)
        self._undo.append(undo)


def failed_with(error: BaseException) -> bool:
    """Whether an exception that ends a program or thread is more than an exit with status 0."""
    return not isinstance(error, SystemExit) or _is_failure(error.code)


def _is_failure(status: Any) -> bool:
    """Whether an argument of `SystemExit` stands for another exit status than 0."""
    return status is not None and status != 0


def _chained(previous: Callable[..., Any], on_ended: OnThreadEnded) -> Callable[..., Any]:
    def excepthook(args: Any) -> Any:
        on_ended(getattr(args.thread, "ident", None), args.exc_value)
        return previous(args)

    return excepthook


def _main_frame() -> FrameType | None:
    """The frame of the main module, as which `python program.py` and `python -m program` run it."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    frames = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    for outer in reversed(frames):
        if outer.f_globals.get("__name__") != "runpy":
            return outer
    return None


def _has_returned(frame: FrameType) -> bool:
    return _instructions(frame)[-1].opname.startswith("RETURN")


def _raised_failure(frame: FrameType) -> bool:
    """Whether a `SystemExit` of unknown status that has left a frame stands for a failure.

    One that the frame itself raises with a value that it computes, as in
    `raise SystemExit(main())`, counts as none: then the training has come to its end.
    """
    *before, last = _instructions(frame)
    if last.opname != "RAISE_VARARGS":
        return True
    loads = [op for op in before[-4:] if op.opname not in ("PRECALL", "CACHE")]
    if len(loads) < 2 or loads[-1].opname != "CALL" or loads[-1].arg != 1:
        return False
    status = loads[-2]
    return status.opname in ("LOAD_CONST", "LOAD_SMALL_INT") and _is_failure(status.argval)


def _instructions(frame: FrameType) -> list[dis.Instruction]:
    """The instructions of a frame's code up to its latest."""
    return [op for op in dis.get_instructions(frame.f_code) if op.offset <= frame.f_lasti]
