"""`History`: a run with its steps, read back from a tracker."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lrtrack.fields import JSON
from lrtrack.records.run import Run, State

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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

    def release_memory(self) -> None:
        """Free the memory of arrays that a file backs; they stay usable, and are read again."""
        if self.mapped is not None and hasattr(self.mapped, "madvise"):
            self.mapped.madvise(mmap.MADV_DONTNEED)


def one_by_one(histories: Iterable[History]) -> Iterator[History]:
    """Iterate over `histories`, of which only the current one has to be in memory."""
    for history in histories:
        yield history
        history.release_memory()
