"""Which count a scheduler had at which step, in little memory: most move at a regular pace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: The most segments that are stored; a schedule that moves at irregular steps has many.
STORED = 64


class Pace:
    """The steps at which a scheduler's count rose.

    A segment is `[start, count, stride, last]`: the count was `count` at the step `start` and rose
    by 1 every `stride` steps, up to the step `last`. A stride of 0 means that it has not risen yet.

    Attributes:
        segments: in the order in which they were made; the last one is still open.

    Args:
        segments: those of an earlier process.
    """

    def __init__(self, segments: Iterable[Sequence[int]] = ()) -> None:
        self.segments = [list(segment) for segment in segments]

    @property
    def has_longer_strides(self) -> bool:
        """Whether the count stayed for several steps anywhere."""
        return any(stride > 1 for _, _, stride, _ in self.segments)

    def begin(self, step: int, count: int) -> None:
        """Note the count at a step, after which anything known of later steps is void."""
        self.cut(step)
        self.segments.append([step, count, 0, step])

    def cut(self, step: int) -> None:
        """Void what is known from a step on."""
        kept = [segment for segment in self.segments if segment[0] < step]
        for segment in kept[-1:]:
            _, _, stride, last = segment
            segment[3] = (
                min(last, step - 1)
                if stride < 2
                else last - (max(0, -(-(last - step + 1) // stride)) * stride)
            )
        self.segments = kept

    def extend(self, step: int) -> None:
        """Take the latest pace for that of all steps up to one that was made since it was noted."""
        for start, _, stride, last in self.segments[-1:]:
            if stride and step > last:
                self.segments[-1][3] = start + (step - start) // stride * stride

    def rest(self, step: int) -> None:
        """Note that the count has risen at each step up to `step` since it was noted last."""
        segment = self.segments[-1] if self.segments else [step, 0, 0, step]
        if step <= segment[3]:
            return
        if segment[2] < 2:
            segment[2:] = [1, step]
        else:
            self.segments.append([segment[3], _reached(segment), 1, step])

    def move(self, step: int, count: int) -> None:
        """Note that the count rose before a step, but not at the step before that or not by 1."""
        if not self.segments:
            self.segments.append([step, count, 0, step])
            return
        start, _, stride, last = segment = self.segments[-1]
        if step == start:  # it was stepped before the first step that is made with it
            segment[1:] = [count, 0, step]
            return
        regular = stride == 0 or step == last + stride
        if count == _reached(segment) + 1 and regular:
            segment[2:] = [stride or step - start, step]
        else:
            self.segments.append([step, count, 0, step])

    def step_of(self, count: int) -> int | None:
        """The step at which the count was `count` first, latest course first; None if unknown."""
        for at in reversed(range(len(self.segments))):
            start, first, stride, _ = segment = self.segments[at]
            is_open = segment is self.segments[-1] and stride > 0
            if at > 0 and first == count == _reached(self.segments[at - 1]):
                continue  # it had this count before
            if first <= count and (is_open or count <= _reached(segment)):
                return start + stride * (count - first)
        for earlier, later in zip(self.segments[-2::-1], self.segments[:0:-1], strict=True):
            if _reached(earlier) < count < later[1]:  # it rose by several at once
                return later[0]
        return None

    def counts(self, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """The count at each step, shape (n,), ascending; -1 before the first known one."""
        counts = np.full(steps.shape, -1, dtype=np.int64)
        for start, count, stride, last in self.segments:
            own = steps >= start
            rises = (np.minimum(steps[own], last) - start) // stride if stride else 0
            counts[own] = count + rises
        return counts

    def stored(self) -> list[list[int]]:
        """The latest segments, for a journal."""
        return [list(segment) for segment in self.segments[-STORED:]]


def segments_from(data: Any) -> list[list[int]]:
    """Read stored segments from a journal; none if one of them makes no sense."""
    if not isinstance(data, list) or not all(map(_is_segment, data)):
        return []
    return [list(segment) for segment in data]


def _is_segment(data: Any) -> bool:
    if not isinstance(data, list) or len(data) != 4:
        return False
    if not all(type(number) is int and abs(number) < 2**53 for number in data):
        return False
    start, _, stride, last = data
    return bool(0 <= start <= last and stride >= 0 and (stride > 0 or last == start))


def _reached(segment: Sequence[int]) -> int:
    start, first, stride, last = segment
    return first + ((last - start) // stride if stride else 0)
