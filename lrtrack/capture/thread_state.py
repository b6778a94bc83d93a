"""What happened on a thread since its last optimizer step, until the step's record is made."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lrtrack.capture.clipping import Clipped
from lrtrack.capture.device_scalars import Scalar


class Notes:
    """One thread's notes.

    A step that begins says so in `used` and `stepping`, and clears what a step of another optimizer
    has used. A step's notes stay readable until something new is noted or another step begins, as
    several captures may observe one optimizer.

    Attributes:
        used: a step has begun since the last note.
        stepping: id of the optimizer whose step is under way.
        count: backward calls that `loss` is the sum of; of no meaning where that is None.
        away: what happens now is no training, and none of a block's business.
        scaling: a scaler has scaled something, which may be a loss.
        total: the L2 norm that torch last found, to be clipped with.
        clipped: what the last clipping left, if it was by the L2 norm.
    """

    __slots__ = (
        "away", "clipped", "count", "loss", "period", "preclip", "scaling", "stepping", "total",
        "used",
    )  # fmt: skip

    def __init__(self) -> None:
        self.away = False
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
        """Forget everything."""
        self.used = False
        self.loss = None
        self.preclip = None
        self.total = None
        self.clipped = None
        self.scaling = False

    def end_step(self) -> None:
        """Say that a step was made, or skipped."""
        self.used, self.stepping = True, None


# One look at the thread's own storage gives all: a step asks three times.
own = threading.local()
_period = 0


def current_notes() -> Notes:
    """This thread's notes, without what is left from before the present blocks."""
    try:
        here: Notes = own.notes
    except AttributeError:
        here = own.notes = Notes()
    if here.period != _period:
        here.clear()
        here.period = _period
    return here


def fresh_notes() -> Notes:
    """This thread's notes, to be added to: what a step has used is forgotten."""
    here = current_notes()
    if here.used:
        here.clear()
    return here


def new_period() -> int:
    """Let all notes so far be forgotten; the number of the period that begins."""
    global _period
    _period += 1
    return _period


def period() -> int:
    """The number of the present period."""
    return _period


@contextmanager
def away() -> Iterator[None]:
    """Let this thread run steps, on any optimizer, that no open block sees."""
    here = current_notes()
    before, here.away = here.away, True
    try:
        yield
    finally:
        here.away = before
