"""Reading many runs, of which some may be malformed.

Anyone who can write to an experiment decides what its runs contain. Readers therefore do all work
on one run through `read_each` or `LeftOut.attempt`: an error there skips that run, with a warning
that names it. Only errors that every run would meet end the reading.
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
from lrtrack.records import History, State
from lrtrack.records.alignment import MAX_STEP, MAX_TIME
from lrtrack.records.alignment import OddRun as OddRun
from lrtrack.redaction import redact
from lrtrack.trackers.base import Progress

Item = TypeVar("Item")
T = TypeVar("T")

#: The most runs that one warning names.
SHOWN = 3
#: The longest reason in a warning, in characters; its text comes from outside.
LONGEST = 200

#: Errors that every run would meet: they end the reading.
_FATAL = (TrackerUnavailable, AccessRefused, UsageError)
#: Why single rows of a run are skipped.
ODD_ROWS = "their step or time is negative, or larger than any real one"


@dataclass
class LeftOut:
    """Runs and rows that were skipped while reading; safe to use from several threads.

    Attributes:
        runs: the runs that could not be read, with the reason.
        rows: the runs of which some rows could not be read, with the reason.
        read: the number of runs that could be read.
        refusal: the first error with which the tracker itself refused a run.
    """

    runs: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    read: int = 0
    refusal: TrackerError | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def attempt(
        self, name: Callable[[], str], read: Callable[[], T], *, counted: bool = True
    ) -> T | None:
        """Call `read` for one run; where it fails, record the reason and return None.

        Args:
            name: returns the name that users know the run by.
            read: the work.
            counted: whether the run counts as read when it succeeds.

        Raises:
            TrackerUnavailable, AccessRefused, UsageError: every other run would fail, too.
        """
        try:
            value = read()
        except _FATAL:
            raise
        except Exception as error:  # libraries of three vendors, on data from outside
            with self._lock:
                self.runs.append(f"{_name_of(name)}: {_reason(error)}")
                if isinstance(error, TrackerError) and self.refusal is None:
                    self.refusal = error
            return None
        with self._lock:
            self.read += counted
        return value

    def note_rows(self, name: Callable[[], str], count: int, reason: str) -> None:
        """Record that `count` rows of a run were skipped, the first of them for `reason`."""
        rows = "a row" if count == 1 else f"{count:,} rows"
        with self._lock:
            self.rows.append(f"{rows} of {_name_of(name)}: {_short(reason)}")

    def report(self) -> None:
        """Warn about everything that was skipped, in at most two lines.

        Raises:
            TrackerError: the tracker refused every run.
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
    """Read runs in order, several at a time, and skip those that cannot be read.

    Only a few runs are read ahead of the caller.

    Args:
        items: the runs as the tracker lists them.
        read: reads one run; called from several threads.
        name: returns the name that users know a run by.
        left_out: records what is skipped; reported after the last run.
        workers: the number of threads; 0: the calling thread.
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
    pending: deque[Future[T]] = deque()
    remaining = iter(items)
    with ThreadPoolExecutor(workers, thread_name_prefix="lrtrack-read") as pool:
        try:
            while True:
                while len(pending) < 4 * workers and (item := next(remaining, _END)) is not _END:
                    pending.append(pool.submit(read, item))
                if not pending:
                    return
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


_END: Any = object()


def moment(value: Any, default: float = 0.0) -> float:
    """Seconds since the epoch that a date can show; `default` for anything else."""
    number = number_of(value)
    return number if number is not None and 0 <= number < MAX_TIME else default


def number_of(value: Any) -> float | None:
    """A JSON number as a float; None for anything else, and for integers too large for a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def step_of(value: Any) -> int | None:
    """A step: an integer of at least 0, also if written as a float; None for anything else."""
    number = number_of(value)
    if number is None or not math.isfinite(number) or not 0 <= number < MAX_STEP:
        return None
    return int(number) if number.is_integer() else None


def integer_of(value: Any) -> int | None:
    """An integer that fits into 64 bits; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) < 2**63 else None


def checked(history: History) -> History:
    """Return `history` after checking the types and shapes that reports rely on.

    Raises:
        OddRun: one of them is wrong.
    """
    if not isinstance(history, History):
        raise OddRun(f"it is a {type(history).__name__}")
    run = history.run
    texts = (run.id, run.name, run.prefix, run.version, run.device_type, run.device_name)
    if not all(isinstance(text, str) for text in texts) or not isinstance(history.state, State):
        raise OddRun("its id, name, device or state is not text")
    if run.seed is not None and integer_of(run.seed) is None:
        raise OddRun("its seed is not an integer")
    if not all(isinstance(data, Mapping) for data in (run.config, run.tags, run.optimizer)):
        raise OddRun("its config, tags or optimizer is not a mapping")
    shape = history.steps.shape
    columns = (history.times, *history.metrics.values(), *history.present.values())
    if len(shape) != 1 or history.steps.dtype.kind not in "iu":
        raise OddRun("its steps are not integers")
    if any(column.shape != shape for column in columns):
        raise OddRun("its metrics do not have one value per step")
    _ = run.schedule.id, run.schedule.label  # every report reads these
    return history


def _name_of(name: Callable[[], str]) -> str:
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
