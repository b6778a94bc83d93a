"""Reading many runs, any of which may be odd: none of them hides the others.

Whoever may write to an experiment decides what a run's fields hold. Every reader does its work on
one run through `read_each` or `LeftOut.attempt`: what goes wrong there leaves out that run, with a
warning that names it, unless all runs would fail alike.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lrtrack.errors import (
    AccessRefused,
    TrackerError,
    TrackerUnavailable,
    UsageError,
    clean,
    warn,
)
from lrtrack.journal.history_table import MAX_STEP, MAX_TIME
from lrtrack.records import History, State
from lrtrack.settings import redact
from lrtrack.trackers.base import Progress

Item = TypeVar("Item")
T = TypeVar("T")

#: Runs that a warning names, of however many.
SHOWN = 3
#: The longest reason, in characters: others decide what it says.
LONGEST = 200

#: Errors that other runs would meet as well: they end the reading.
_OF_ALL = (TrackerUnavailable, AccessRefused, UsageError)


class OddRun(ValueError):
    """What a run holds makes no sense; the message says what and why."""


@dataclass
class LeftOut:
    """What was left out while runs were read; safe to use from several threads.

    Attributes:
        runs: runs that could not be read, with the reason.
        rows: runs some rows of which could not be read, with the reason.
        read: how many runs could be read.
        refusal: the first error by which the tracker itself refused a run.
    """

    runs: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    read: int = 0
    refusal: TrackerError | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def attempt(
        self, name: Callable[[], str], read: Callable[[], T], *, counted: bool = True
    ) -> T | None:
        """Do something with one run; None, and a note of why, where that fails.

        Args:
            name: what people know the run by.
            read: the work.
            counted: whether the run counts as read after it.

        Raises:
            TrackerUnavailable, AccessRefused, UsageError: other runs would fail alike.
        """
        try:
            value = read()
        except _OF_ALL:
            raise
        except Exception as error:  # untrusted data, read by three vendors' libraries
            with self._lock:
                self.runs.append(f"{_named(name)}: {_reason(error)}")
                if isinstance(error, TrackerError) and self.refusal is None:
                    self.refusal = error
            return None
        with self._lock:
            self.read += counted
        return value

    def note_rows(self, name: Callable[[], str], count: int, reason: str) -> None:
        """Note that `count` rows of a run were left out, the first for this `reason`."""
        rows = "a row" if count == 1 else f"{count:,} rows"
        with self._lock:
            self.rows.append(f"{rows} of {_named(name)}: {_short(reason)}")

    def report(self) -> None:
        """Warn about everything that was left out, in at most two lines.

        Raises:
            TrackerError: the tracker refused every single run.
        """
        if self.refusal is not None and not self.read:
            raise self.refusal
        if self.runs:
            count = len(self.runs)
            runs = "a run that" if count == 1 else f"{count:,} runs that"
            warn(f"Left out {runs} cannot be read: {_listed(self.runs)}.")
        if self.rows:
            warn(f"Left out rows that make no sense: {_listed(self.rows)}.")


def read_each(
    items: Sequence[Item],
    read: Callable[[Item], T],
    name: Callable[[Item], str],
    left_out: LeftOut,
    *,
    workers: int = 0,
    progress: Progress | None = None,
) -> Iterator[T]:
    """Read runs in order, several at a time, and leave out those that cannot be read.

    No more than a few runs are read ahead of the caller.

    Args:
        items: the runs as the tracker lists them.
        read: reads one; called from several threads.
        name: what people know a run by.
        left_out: takes what goes wrong; reported when the last run was read.
        workers: threads; 0: this one.
        progress: called with (done, total).
    """
    source = (_directly if workers == 0 else _in_threads)(
        items, lambda item: left_out.attempt(lambda: name(item), lambda: read(item)), workers
    )
    try:
        for done, value in enumerate(source, 1):
            if value is not None:
                yield value
            if progress is not None:
                progress(done, len(items))
    finally:
        source.close()
    left_out.report()


def _directly(items: Sequence[Any], read: Callable[[Any], T], workers: int) -> Any:
    yield from map(read, items)


def _in_threads(items: Sequence[Any], read: Callable[[Any], T], workers: int) -> Any:
    waiting: deque[Future[T]] = deque()
    coming = iter(items)
    with ThreadPoolExecutor(workers, thread_name_prefix="lrtrack-read") as pool:
        try:
            while True:
                while len(waiting) < 4 * workers and (item := next(coming, _END)) is not _END:
                    waiting.append(pool.submit(read, item))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


_END: Any = object()


def moment(value: Any, default: float = 0.0) -> float:
    """Seconds since the epoch, as dates can show them; `default` for anything else."""
    number = number_of(value)
    return number if number is not None and 0 <= number < MAX_TIME else default


def number_of(value: Any) -> float | None:
    """A JSON number as a float; None for anything else, and for integers beyond all floats."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def step_of(value: Any) -> int | None:
    """A step: an integer from 0 on, perhaps written as a float; None for anything else."""
    number = number_of(value)
    if number is None or not math.isfinite(number) or not 0 <= number < MAX_STEP:
        return None
    return int(number) if number.is_integer() else None


def integer_of(value: Any) -> int | None:
    """An integer of 64 bits; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) < 2**63 else None


def checked(history: History) -> History:
    """`history`, whose fields are what reports take them for.

    Raises:
        OddRun: they are not.
    """
    if not isinstance(history, History):
        raise OddRun(f"it is a {type(history).__name__}")
    run = history.run
    texts = (run.id, run.name, run.prefix, run.version, run.device_type, run.device_name)
    if not all(isinstance(text, str) for text in texts) or not isinstance(history.state, State):
        raise OddRun("its id, name, device or state is not text")
    if run.seed is not None and integer_of(run.seed) is None:
        raise OddRun("its seed is not an integer")
    if not all(isinstance(each, Mapping) for each in (run.config, run.tags, run.optimizer)):
        raise OddRun("its config, tags or optimizer is not a mapping")
    shape = history.steps.shape
    columns = (history.times, *history.metrics.values(), *history.present.values())
    if len(shape) != 1 or history.steps.dtype.kind not in "iu":
        raise OddRun("its steps are not integers")
    if any(column.shape != shape for column in columns):
        raise OddRun("its metrics have not one value a step")
    _ = run.schedule.id, run.schedule.label  # what every report asks for
    return history


def _named(name: Callable[[], str]) -> str:
    try:
        return clean(redact(name()))[:LONGEST]
    except Exception:
        return "a run without a name"


def _reason(error: Exception) -> str:
    text = str(error).strip()
    own = isinstance(error, OddRun | TrackerError)
    return _short(
        text if own and text else f"{type(error).__name__}: {text}" if text else repr(error)
    )


def _short(text: str) -> str:
    line = clean(redact(text.partition("\n")[0]))
    return (line if len(line) <= LONGEST else f"{line[:LONGEST]}…").rstrip(".")


def _listed(entries: Sequence[str]) -> str:
    more = f"; and {len(entries) - SHOWN:,} more" if len(entries) > SHOWN else ""
    return "; ".join(entries[:SHOWN]) + more
