"""`History`: a run with its steps, read back from a tracker."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from lrtrack._optional import load
from lrtrack.fields import JSON
from lrtrack.records.run import Run, State

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from lrtrack.schedules import Schedule

T = TypeVar("T")

#: Fewer steps than this, of all runs together, are done before threads have started.
_LONG = 1_000_000
#: More threads would wait for memory rather than compute.
_MOST_THREADS = 4


@dataclass(frozen=True)
class Guesses:
    """What was taken as what in a run that lrtrack did not record.

    Attributes:
        rate: the metric that was taken as the learning rate; None without one.
        seed: the field that was taken as the seed; None without one.
    """

    rate: str | None = None
    seed: str | None = None


@dataclass(frozen=True)
class ServedPage:
    """A run's page in a store without a server, which is there once one has been started.

    Attributes:
        command: the command that starts the server, for a shell of the machine with the store.
        url: the run's page while that server runs.
    """

    command: str
    url: str


@dataclass(frozen=True)
class History:
    """A run with its steps, read back from a tracker.

    Attributes:
        run: the run's identity, with everything the tracker keeps of it.
        state: whether the run is still going, and how it ended.
        tracker: the name of the tracker it was read from.
        steps: shape (n,), int64, ascending.
        times: shape (n,), float64, seconds since the epoch.
        metrics: metric name to shape (n,), float64; NaN also where a step has no value.
        present: metric name to shape (n,), bool: whether the step has a value. This tells a
            recorded NaN from a missing value.
        url: the run's page; None where there is none.
        ended: seconds since the epoch; None while the run is going.
        remote_id: the tracker's own id of the run; None where that is `run.id`.
        mapped: the memory-mapped file that the arrays are views of; None where they are not.
        parent: the run that this one branched off, where it was read too; its steps before
            `run.branched_at` are shared.
        guesses: what was taken as the learning rate and the seed of a run that lrtrack did not
            record; None for a run that it did.
        served: how the run's page can be opened where it has no `url`; None if it cannot.
    """

    run: Run
    state: State
    tracker: str
    steps: NDArray[np.int64]
    times: NDArray[np.float64]
    metrics: Mapping[str, NDArray[np.float64]]
    present: Mapping[str, NDArray[np.bool_]]
    url: str | None = None
    ended: float | None = None
    remote_id: str | None = None
    mapped: mmap.mmap | None = field(default=None, repr=False, compare=False)
    parent: History | None = field(default=None, repr=False, compare=False)
    guesses: Guesses | None = None
    served: ServedPage | None = None

    @classmethod
    def from_series(
        cls,
        schedule: Schedule | str,
        metrics: Mapping[str, ArrayLike],
        *,
        seed: int | None = None,
        step: ArrayLike | None = None,
        time: ArrayLike | None = None,
        config: Mapping[str, JSON] | None = None,
        name: str | None = None,
    ) -> History:
        """Make a history of numbers at hand, for `lrtrack.compare(histories=…)`.

        Args:
            schedule: a `Schedule`, a text in the spec language (`"warmup(steps=10) -> cosine"`), or
                any other name.
            metrics: metric name to values, all of one length n; None and masked entries are
                missing values, while NaN is a value that diverged.
            seed: what reports average over.
            step: the optimizer steps of the values, ascending from at least 0; None: 0 to n - 1.
            time: when the steps ran, in seconds from any origin; None: unknown.
            config: settings of the run, as in `track()`.
            name: the run's name; None: made from the schedule and the seed.

        Raises:
            UsageError: the series differ in length or hold no numbers, or the steps do not ascend.
        """
        from lrtrack.records import series

        return cls(
            run=series.run_of(schedule, seed, config, name),
            state=State.FINISHED,
            tracker=series.SERIES,
            **series.columns_of(metrics, step, time),
        )

    @property
    def id(self) -> str:
        """The id that users know, as `TrackedRun.id`: the tracker's own, else lrtrack's."""
        return self.remote_id or self.run.id

    def fields(self) -> dict[str, JSON]:
        """The fields of the run, with its `state`, `tracker`, `url` and the tracker's `run_id`."""
        return self.run.fields(
            run_id=self.id, state=str(self.state), tracker=self.tracker, url=self.url
        )

    def series(self, metric: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The steps and values at which a metric was recorded.

        Args:
            metric: the metric's name, with or without the run's prefix.

        Returns:
            Two arrays of one shape (k,), k ≤ n; both are empty for a metric the run lacks.
        """
        name = self.name_of(metric)
        if name is None:
            return self.steps[:0], self.times[:0]
        mask = self.present[name]
        return self.steps[mask], self.metrics[name][mask]

    def name_of(self, metric: str) -> str | None:
        """The column that holds `metric`, with or without the run's prefix; None without one."""
        for name in (self.run.prefix + metric, metric):
            if name in self.metrics:
                return name
        return None

    def to_frame(self) -> pd.DataFrame:
        """One row per step: `step`, `time` (seconds since the epoch), `seconds` (since the run's
        first record), then one column per metric under its own name; NaN where a step has no value.
        """
        first = self.times[0] if self.times.size else 0.0
        own = {"step": self.steps, "time": self.times, "seconds": self.times - first}
        metrics = {name: values for name, values in self.metrics.items() if name not in own}
        frame: pd.DataFrame = load("pandas").DataFrame({**own, **metrics})
        return frame

    def release_memory(self) -> None:
        """Free the memory of arrays that a file backs; they stay usable, and are read again."""
        if self.mapped is not None and hasattr(self.mapped, "madvise"):
            self.mapped.madvise(mmap.MADV_DONTNEED)


def recorded(history: History, name: str, column: NDArray[Any]) -> NDArray[Any]:
    """The rows of `column` at which a run has a value of a metric.

    Args:
        name: the metric's name in `history.metrics`.
        column: shape (n,): of the history's steps, times or values.

    Returns:
        Shape (k,), k ≤ n. Where every step has a value it is `column` itself, which takes no
        memory, and must not be changed.
    """
    mask = history.present[name]
    # The mask of a column without gaps is one value in memory, repeated.
    is_whole = mask[:1].all() if mask.strides == (0,) else mask.all()
    return column if is_whole else column[mask]


def one_by_one(histories: Iterable[History]) -> Iterator[History]:
    """Iterate over `histories`, of which only the current one has to be in memory."""
    for history in histories:
        yield history
        history.release_memory()


def map_each(function: Callable[[History], T], histories: Sequence[History]) -> tuple[T, ...]:
    """Apply a function to each history, in several threads where they are long.

    Args:
        function: called once per history, from any thread; only few histories are in memory.
        histories: in any order.

    Returns:
        The results, in the order of `histories`.
    """

    def release_after(history: History) -> T:
        try:
            return function(history)
        finally:
            history.release_memory()

    workers = min(len(os.sched_getaffinity(0)), _MOST_THREADS)
    if workers == 1 or sum(history.steps.size for history in histories) < _LONG:
        return tuple(map(release_after, histories))
    with ThreadPoolExecutor(workers, thread_name_prefix="lrtrack-compute") as pool:
        return tuple(pool.map(release_after, histories))
