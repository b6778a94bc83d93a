"""What happened on a thread since its last optimizer step, until that step is recorded.

Tasks of an event loop take turns on one thread, and one may wait between `backward()` and `step()`.
While blocks of several tasks may be open, each task has notes of its own. They are not kept in a
context variable: a task that is started later would share them, and a loop whose `backward()` and
`step()` are in different tasks, as in a server, would lose its losses.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

from lrtrack.capture.clipping import Clipped
from lrtrack.capture.device_scalars import Scalar
from lrtrack.capture.hidden import Hidden

#: A task of an event loop: asyncio's, or trio's.
Task: TypeAlias = Any


class Counting(Protocol):
    """What is needed of a capture: the steps that it has seen, and what shows hidden ones."""

    made: int
    hidden: Hidden


class Notes:
    """The notes of one thread.

    A step sets `used` and `stepping` when it begins, and clears notes that a step of another
    optimizer has used. A step's notes stay readable until something new is
    noted or another step begins, because several captures may observe one optimizer.

    Attributes:
        used: whether a step has begun since the last note.
        stepping: id of the optimizer whose step is under way.
        count: number of backward calls that `loss` is the sum of; meaningless if `loss` is None.
        away: whether the current code is no training and must be ignored by all blocks.
        capturing: while a CUDA graph is captured, the captures of the optimizers that stepped;
            then the thread is `away`, too.
        scaling: whether a scaler has scaled something, which may be a loss.
        total: the L2 norm that torch last computed for clipping.
        clipped: the gradients after the last clipping, if it was by the L2 norm.
        attempted: id of the optimizer that a scaler last stepped or skipped, and the loss then.
    """

    __slots__ = (
        "attempted", "away", "capturing", "clipped", "count", "loss", "period", "preclip",
        "scaling", "stepping", "total", "used",
    )  # fmt: skip

    def __init__(self) -> None:
        self.attempted: tuple[int, Scalar | None] | None = None
        self.away = False
        self.capturing: list[Counting] | None = None
        self.period = -1
        self.used = False
        self.stepping: int | None = None
        self.loss: Scalar | None = None
        self.count = 0
        self.preclip: Scalar | None = None
        self.total: Any = None
        self.clipped: Clipped | None = None
        self.scaling = False

    def clear(self) -> None:
        """Clear all notes."""
        self.used = False
        self.loss = None
        self.preclip = None
        self.total = None
        self.clipped = None
        self.scaling = False

    def end_step(self, optimizer: object) -> None:
        """Note that a scaler has made a step of `optimizer`, or skipped it."""
        self.used, self.stepping = True, None
        self.attempted = id(optimizer), self.loss


class TaskNotes:
    """The notes of the tasks that take turns on one thread, in the place of those of the thread.

    Attributes:
        period: none, so that whoever looks at it goes on to `current_notes`.
        began: the period for which the notes are kept apart.
        thread: the notes of the code outside of all tasks.

    Args:
        thread: the thread's notes so far.
        opener: the task that has made them; None if it is unknown.
    """

    period = -2

    def __init__(self, thread: Notes, opener: Task | None) -> None:
        self.began = _period
        self.thread = thread
        self._notes: dict[int, Notes] = {}  # by the task's id
        self._left: Notes | None = None if opener else thread
        if opener is not None:
            self._keep(opener, thread)

    def enter(self, task: Task) -> None:
        """Keep the notes of `task` apart from those so far."""
        if id(task) not in self._notes:
            self._keep(task, Notes())

    def current(self) -> Notes:
        """Return the notes of the running task.

        A task without any continues those of the last one that ended between `backward()` and
        `step()`.
        """
        task = _running_task()
        if task is None:
            return self.thread
        notes = self._notes.get(id(task))
        if notes is None:
            notes, self._left = self._left or Notes(), None
            self._keep(task, notes)
        return notes

    def _keep(self, task: Task, notes: Notes) -> None:
        self._notes[id(task)] = notes
        if isinstance(task, asyncio.Future):
            task.add_done_callback(lambda ended: self._ended(id(ended)))
        else:  # trio's tell nobody of their end, and are freed then
            weakref.finalize(task, self._ended, id(task)).atexit = False

    def _ended(self, task_id: int) -> None:
        notes = self._notes.pop(task_id, None)
        if notes is not None and not notes.used:
            self._left = notes


# One lookup in the thread's storage returns everything, because each step needs it three times.
own = threading.local()
_period = 0


def current_notes() -> Notes:
    """Return this thread's or task's notes, without anything from before the current blocks."""
    try:
        here: Notes = own.notes
    except AttributeError:
        here = own.notes = Notes()
    if here.period != _period:
        return _renewed(here)
    return here


def _renewed(here: Notes | TaskNotes) -> Notes:
    """Return the notes of the running task, or of the thread in a new period."""
    if isinstance(here, TaskNotes):
        if here.began == _period:
            here = here.current()
        else:
            here = own.notes = here.thread
    if here.period != _period:
        here.clear()
        here.period = _period
        if here.capturing is not None:  # blocks have closed before the capture was over
            here.away, here.capturing = False, None
    return here


def note_opener() -> None:
    """Note which task opens the first block on this thread, whose notes it then has."""
    own.opener = _running_task()


def separate_tasks() -> None:
    """Keep the notes of this thread's tasks apart, as another block is opened.

    Outside of all tasks, this is for those that an event loop runs later, while the blocks are
    open.
    """
    task, notes = _running_task(), current_notes()
    if not isinstance(own.notes, TaskNotes):
        own.notes = TaskNotes(notes, getattr(own, "opener", None))
    if task is not None:
        own.notes.enter(task)


def _running_task() -> Task | None:
    loop = asyncio._get_running_loop()  # None where there is none, instead of an exception
    if loop is not None:
        return asyncio.current_task(loop)
    if "trio" not in sys.modules:
        return None
    try:
        return sys.modules["trio"].lowlevel.current_task()
    except (AttributeError, RuntimeError):  # it is being imported, or does not run here
        return None


def fresh_notes() -> Notes:
    """Return this thread's notes for writing, without anything that a step has used."""
    here = current_notes()
    if here.used:
        here.clear()
    return here


def new_period() -> int:
    """Discard all notes so far; returns the number of the new period."""
    global _period
    _period += 1
    return _period


def period() -> int:
    """Return the number of the current period."""
    return _period


@contextmanager
def away() -> Iterator[None]:
    """Let this thread run steps, on any optimizer, that no open block records."""
    here = current_notes()
    before, here.away = here.away, True
    try:
        yield
    finally:
        here.away = before
