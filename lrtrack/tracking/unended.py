"""Runs that no `with` block ends: `run.end()` does, else a later `start()`, else the program's end.

A forked child does not end its parent's runs.
"""

from __future__ import annotations

import atexit
import os
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

#: Where a program calls `start()`: file, line, and the prefix of the run.
_Place = tuple[str, int, str]


@dataclass(eq=False)
class _Open:
    """A run that nobody has ended.

    Attributes:
        block: its block.
        place: where it was started, at the top level of a module; None elsewhere.
        thread: the thread that started it.
        failed: whether that thread has ended by an exception.
    """

    block: Block
    place: _Place | None
    thread: int = field(default_factory=threading.get_ident)
    failed: bool = False


_open: list[_Open] = []
_places: dict[int, _Place | None] = {}
_end: ProgramEnd | None = None
_finalizer: tuple[int, Any] | None = None


def keep(block: Block) -> None:
    """End a block with the program, unless it is ended before."""
    global _end, _finalizer
    _open.append(_Open(block, _places.pop(id(block), None)))
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
    _places.pop(id(block), None)
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
    own, place = _optimizers(block), _place(block, caller)
    for kept in list(_open):
        if own & _optimizers(kept.block):
            why = "with its optimizer"
        elif place is not None and kept.place == place:
            why = "at the same place"
        else:
            continue
        recording = kept.block.recording
        name = "" if recording is None else f" {recording.run.name!r}"
        kept.block.end(State.FINISHED)
        notice(f"The run{name} has ended, because start() was called again {why}.")
    _places[id(block)] = place


def _optimizers(block: Block) -> set[int]:
    parts = ensemble_of(block.options.optimizer, block.options.scheduler).parts
    return {id(part.optimizer) for part in parts if not isinstance(part.optimizer, NoOptimizer)}


def _place(block: Block, caller: FrameType) -> _Place | None:
    if caller.f_code.co_name != "<module>":  # a function may serve several trainings at once
        return None
    return caller.f_code.co_filename, caller.f_lineno, block.options.prefix


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
