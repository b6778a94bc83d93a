"""Runs that no `with` block ends: `run.end()` does, else a later `start()`, else the program's end.

A forked child does not end its parent's runs.
"""

from __future__ import annotations

import atexit
import dis
import os
import re
import sys
import threading
from dataclasses import dataclass, field
from multiprocessing import parent_process
from multiprocessing.util import Finalize
from types import FrameType
from typing import TYPE_CHECKING, Any

from lrtrack.capture.ensemble import ensemble_of
from lrtrack.capture.optimizers import NoOptimizer
from lrtrack.errors import notice, warn
from lrtrack.records import State
from lrtrack.tracking.program_end import ProgramEnd, failed_with

if TYPE_CHECKING:
    from lrtrack.tracking.context import Block

#: The part of a cell's file name that differs each time it runs; a digest of its text follows.
_CELL = re.compile(r"(?<=ipython-input-)\d+-")


@dataclass(frozen=True)
class _Call:
    """A call of `start()` at the top level of a module or a notebook cell.

    Attributes:
        place: file, line, and the prefix of the run.
        variable: which variables it is among, its name, and the prefix; None if the call's result
            is not assigned to one. A cell that was changed counts as another file.
    """

    place: tuple[str, int, str]
    variable: tuple[int, str, str] | None


@dataclass(eq=False)
class _Open:
    """A run that nobody has ended.

    Attributes:
        block: its block.
        call: how it was started, at the top level of a module; None elsewhere.
        thread: the thread that started it.
        failed: whether that thread has ended by an exception.
    """

    block: Block
    call: _Call | None
    thread: int = field(default_factory=threading.get_ident)
    failed: bool = False


_open: list[_Open] = []
_calls: dict[int, _Call | None] = {}
_end: ProgramEnd | None = None
_finalizer: tuple[int, Any] | None = None


def keep(block: Block) -> None:
    """End a block with the program, unless it is ended before."""
    global _end, _finalizer
    _open.append(_Open(block, _calls.pop(id(block), None)))
    if _end is None:
        _end = ProgramEnd(_thread_ended)
    # What was registered last is called first: before the trackers' packages close their runs.
    atexit.unregister(_end_with_the_program)
    atexit.register(_end_with_the_program)
    # Processes of `multiprocessing` may end without that.
    if parent_process() is not None and (_finalizer is None or _finalizer[0] != os.getpid()):
        _finalizer = os.getpid(), Finalize(None, _end_with_the_process, exitpriority=100)


def drop(block: Block) -> None:
    """Forget a block that has ended. Idempotent."""
    global _end
    _calls.pop(id(block), None)
    _open[:] = [kept for kept in _open if kept.block is not block]
    if not _open and _end is not None:
        _end.restore()
        _end = None


def end_before(block: Block, caller: FrameType) -> None:
    """End the open runs that a new one replaces, with one line for each that says so.

    Args:
        block: the new run's, not yet entered.
        caller: the frame that calls `start()`.
    """
    own, call = _optimizers(block), _call(block, caller)
    for kept in list(_open):
        if own & _optimizers(kept.block):
            why = "with its optimizer"
        elif call is None or kept.call is None:
            continue
        elif kept.call.place == call.place:
            why = "at the same place"
        elif call.variable is not None and kept.call.variable == call.variable:
            why = f"for the variable {call.variable[1]!r}"
        else:
            continue
        recording = kept.block.recording
        name = "" if recording is None else f" {recording.run.name!r}"
        kept.block.end(State.FINISHED)
        notice(f"The run{name} has ended, because start() was called again {why}.")
    _calls[id(block)] = call


def _optimizers(block: Block) -> set[int]:
    parts = ensemble_of(block.options.optimizer, block.options.scheduler).parts
    return {id(part.optimizer) for part in parts if not isinstance(part.optimizer, NoOptimizer)}


def _call(block: Block, caller: FrameType) -> _Call | None:
    if caller.f_code.co_name != "<module>":  # a function may serve several trainings at once
        return None
    prefix, name = block.options.prefix, _assigned(caller)
    variable = None if name is None else (id(caller.f_globals), name, prefix)
    file = _CELL.sub("", caller.f_code.co_filename)
    return _Call((file, caller.f_lineno, prefix), variable)


def _assigned(caller: FrameType) -> str | None:
    """The name to which a module assigns the result of the call that it makes now."""
    after = (op for op in dis.get_instructions(caller.f_code) if op.offset > caller.f_lasti)
    following = next((op for op in after if op.opname != "CACHE"), None)
    is_store = following is not None and following.opname in ("STORE_NAME", "STORE_GLOBAL")
    return str(following.argval) if following is not None and is_store else None


def _end_with_the_program() -> None:
    if _end is not None:
        _end_all(failed=_end.failed(), interrupted=_end.interrupted())


def _end_with_the_process() -> None:
    """Called while the exception is handled that ends a process of `multiprocessing`, if any."""
    error = sys.exc_info()[1]
    failed = error is not None and failed_with(error)
    _end_all(failed=failed, interrupted=isinstance(error, KeyboardInterrupt))


def _end_all(*, failed: bool, interrupted: bool) -> None:
    for kept in list(_open):
        state = State.FAILED if failed or kept.failed else State.FINISHED
        try:
            kept.block.end(state, interrupted=interrupted)
        except Exception as error:
            warn(f"lrtrack could not end a run with the program: {error!r}.")


def _thread_ended(thread: int | None, error: BaseException | None) -> None:
    """Called when an exception has ended a thread other than the main one."""
    for kept in _open:
        if kept.thread == thread and error is not None and failed_with(error):
            kept.failed = True


os.register_at_fork(after_in_child=_open.clear)
