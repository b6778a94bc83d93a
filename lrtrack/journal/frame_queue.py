"""Frames on their way to a journal's file: kept in memory while its disk refuses them.

Frames that wait too long, or would take too much memory, go to another disk: see `overflow.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrtrack.errors import JournalError
from lrtrack.journal.overflow import Overflow
from lrtrack.journal.segmented_file import SegmentedFile

#: Seconds for which a disk may refuse before the frames go elsewhere: a killed process loses those
#: in its memory.
PATIENCE = 5.0

_NO_STEPS = np.array([], dtype=np.int64)
_VALUE_BYTES = 8


@dataclass(frozen=True)
class _Waiting:
    """A frame and the steps in it, none for an event."""

    frame: bytes
    steps: NDArray[np.int64]

    @property
    def values(self) -> int:
        """About the number of values in it, none for an event."""
        return len(self.frame) // _VALUE_BYTES if len(self.steps) else 0


class FrameQueue:
    """Frames in the order in which they go to the file; for one thread at a time.

    Attributes:
        refusal: why the disk does not take them; None while it does.

    Args:
        file: where they go.
        overflow: where they go meanwhile; None: nowhere.
        warn: called with a key and a message; reports each key once.
    """

    def __init__(
        self, file: SegmentedFile, overflow: Overflow | None, warn: Callable[[str, str], None]
    ) -> None:
        self.refusal: Exception | None = None
        self._file = file
        self._overflow = overflow
        self._warn = warn
        self._frames: list[_Waiting] = []
        self._refused_at = 0.0
        self._lost = 0

    def __len__(self) -> int:
        """Returns the number of rows that wait in memory."""
        return sum(len(waiting.steps) for waiting in self._frames)

    @property
    def values(self) -> int:
        """About the number of values in the rows that wait in memory."""
        return sum(waiting.values for waiting in self._frames)

    @property
    def is_empty(self) -> bool:
        """Whether the journal's file has everything."""
        return not self._frames and not self._overflow

    @property
    def kept_in(self) -> str | None:
        """The directory that has what the journal's disk refused; None if it took everything."""
        return str(self._overflow.place) if self._overflow else None

    @property
    def spills(self) -> bool:
        """Whether frames go to another disk, because this one has refused them for long."""
        if self._overflow is None or self.refusal is None:
            return False
        return bool(self._overflow) or time.monotonic() - self._refused_at > PATIENCE

    def add(self, frame: bytes, steps: NDArray[np.int64] = _NO_STEPS) -> None:
        """Adds a frame, with the steps in it, at the end."""
        self._frames.append(_Waiting(frame, steps))

    def push(self) -> bool:
        """Writes frames as far as the disk takes them; returns whether it took all."""
        try:
            if self._overflow:
                self._overflow.move_to(self._file)
            while self._frames:
                self._file.append(self._frames[0].frame)
                del self._frames[0]
        except (OSError, JournalError) as error:
            self._refused(error)
            return False
        self.refusal = None
        return True

    def spill(self) -> bool:
        """Writes the frames to another disk; returns whether it took all."""
        while self._frames:
            if self._overflow is None or not self._overflow.append(self._frames[0].frame):
                return False
            del self._frames[0]
        return True

    def drop_oldest(self, rows: int, values: int) -> tuple[int, int]:
        """Drops the oldest rows, but no event, until that many rows and values are gone.

        Returns:
            How many rows and how many values are left to drop.
        """
        frames = []
        for waiting in self._frames:
            if len(waiting.steps) and (rows > 0 or values > 0):
                rows, values = rows - len(waiting.steps), values - waiting.values
                self._lost += len(np.unique(waiting.steps))
            else:
                frames.append(waiting)
        self._frames = frames
        return max(rows, 0), max(values, 0)

    def finish(self, end: bytes, lost: int = 0) -> None:
        """Stores what the disk refuses at the end of the run elsewhere, or reports what is lost.

        Args:
            end: a frame that says how the run ended, as short as possible.
            lost: how many steps were dropped before they became frames.
        """
        path, refusal = self._file.path, self.refusal
        if lost := lost + self._lost:
            self._warn("dropped", f"lrtrack lost {_many(lost)} of {path}: it could not be written.")
        if self.is_empty:
            return
        if self.spill():
            self._warn(
                "kept",
                f"lrtrack cannot write the end of {path}: {refusal}. It is kept in "
                f"{self.kept_in}. Fix: make room; the next upload, `lrtrack sync` or report adds "
                "it to the journal.",
            )
            return
        last = len(np.unique(np.concatenate([waiting.steps for waiting in self._frames])))
        self._frames = [_Waiting(end, _NO_STEPS)]
        # The end may fit where the steps do not.
        if not self.push():
            self.spill()
        self._warn(
            "lost", f"lrtrack lost {_many(last)}: the last steps of {path} could not be written."
        )

    def release(self) -> None:
        """Releases the file on the other disk."""
        if self._overflow is not None:
            self._overflow.release()

    def _refused(self, error: Exception) -> None:
        path = self._file.path
        self._warn("disk", f"lrtrack cannot write {path}: {error}. It keeps trying.")
        if self.refusal is None:
            self._refused_at = time.monotonic()
        self.refusal = error
        if self.spills:
            self.spill()


def _many(steps: int) -> str:
    return "1 step" if steps == 1 else f"{steps} steps"
