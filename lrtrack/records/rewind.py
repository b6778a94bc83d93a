"""Returns to an earlier step, which abandon the records of the steps after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Steps and times from here on are none.
_MOST = 2**53
#: The most rewinds of one run that a tracker lists, and the longest text of abandoned steps.
_LISTED, _LONGEST = 100, 4000


@dataclass(frozen=True, slots=True)
class Rewind:
    """A training went on from an earlier step.

    Attributes:
        step: the step that was made next; earlier records of it and of the steps after it are
            abandoned.
        last: the last step that was abandoned; under `step` if there is none.
        time: seconds since the epoch, after the records that are abandoned and before the others.
    """

    step: int
    last: int
    time: float

    def abandons(self, step: int, when: float) -> bool:
        """Whether a record of `step`, made at `when` (seconds since the epoch), is abandoned."""
        return step >= self.step and when < self.time


def rewind_of(data: Any) -> Rewind | None:
    """Read a rewind from a journal's event or a tracker; None for anything else.

    Args:
        data: a mapping with `step`, `last` and `time`, if it is what it should be.
    """
    if not isinstance(data, Mapping):
        return None
    step, last, when = data.get("step"), data.get("last"), data.get("time")
    if type(step) is not int or type(last) is not int or isinstance(when, bool):
        return None
    if not isinstance(when, int | float) or not abs(when) < _MOST:
        return None
    if not (0 <= step < _MOST and -1 <= last < _MOST):
        return None
    return Rewind(step, last, float(when))


def rewinds_from(data: Any) -> tuple[Rewind, ...]:
    """Read rewinds from a tracker.

    Args:
        data: a list of mappings, or of lists of step, last and time; anything else is dropped.
    """
    if not isinstance(data, list | tuple):
        return ()
    names = ("step", "last", "time")
    entries = (
        dict(zip(names, entry, strict=False)) if isinstance(entry, list | tuple) else entry
        for entry in data
    )
    return tuple(rewind for rewind in map(rewind_of, entries) if rewind is not None)


def rewinds_listed(rewinds: Iterable[Rewind]) -> list[list[float]]:
    """`rewinds` as lists of step, last and time, for a tracker; `rewinds_from` reads them."""
    return [[rewind.step, rewind.last, rewind.time] for rewind in rewinds]


def with_rewind(rewinds: Sequence[Rewind], latest: Rewind) -> tuple[Rewind, ...]:
    """Add a rewind, and join it with those that it makes redundant. Idempotent.

    Args:
        rewinds: earlier ones, as this function returned them.
        latest: the one to add; repeated where a delivery begins again.
    """
    for rewind in rewinds:
        if rewind.step <= latest.step and rewind.time >= latest.time:
            return tuple(rewinds)  # it was added before
    covered = [r for r in rewinds if r.step >= latest.step and r.time <= latest.time]
    last = max((r.last for r in (*covered, latest)), default=latest.last)
    kept = [r for r in rewinds if r not in covered]
    joined = sorted((*kept, Rewind(latest.step, last, latest.time)), key=lambda r: r.time)
    return tuple(joined[-_LISTED:])


def abandoned(rewinds: Iterable[Rewind]) -> str:
    """The steps that `rewinds` abandon, as text: `200-249, 300`; empty if there are none."""
    spans: list[list[int]] = []
    for rewind in sorted(rewinds, key=lambda r: r.step):
        if rewind.last < rewind.step:
            continue
        if spans and rewind.step <= spans[-1][1] + 1:
            spans[-1][1] = max(spans[-1][1], rewind.last)
        else:
            spans.append([rewind.step, rewind.last])
    text = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rpartition(',')[0]}, …"
