"""What happened on a thread since its last optimizer step, until that step is recorded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from lrtrack.capture.clipping import Clipped
from lrtrack.capture.device_scalars import Scalar
from lrtrack.capture.hidden import Hidden


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


# One lookup in the thread's storage returns everything, because each step needs it three times.
own = threading.local()
_period = 0


def current_notes() -> Notes:
    """Return this thread's notes, without anything from before the current blocks."""
    try:
        here: Notes = own.notes
    except AttributeError:
        here = own.notes = Notes()
    if here.period != _period:
        here.clear()
        here.period = _period
        if here.capturing is not None:  # blocks have closed before the capture was over
            here.away, here.capturing = False, None
    return here


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
