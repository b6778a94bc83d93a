"""What a store of MLflow is for a reader: experiments, runs, points and columnar files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from lrtrack.records.alignment import Series

#: The tag that holds a run's name in databases of early releases.
_RUN_NAME = "mlflow.runName"


class Unsure(Exception):
    """A direct reader does not know the answer; MLflow's client may."""


@dataclass(frozen=True)
class Experiment:
    """An experiment; `lifecycle_stage` is `active` or `deleted`."""

    experiment_id: str
    name: str
    lifecycle_stage: str


@dataclass(frozen=True)
class Point:
    """The latest point of a metric.

    Attributes:
        key: the metric's name.
        value: as MLflow keeps it: in a database, infinities are the largest float64.
        step: the metric's step.
        timestamp: milliseconds since the epoch.
    """

    key: str
    value: float
    step: int
    timestamp: int


@dataclass(frozen=True)
class RunInfo:
    """A run without its contents; times are milliseconds since the epoch."""

    run_id: str
    run_name: str
    experiment_id: str
    status: str
    start_time: int | None
    end_time: int | None
    artifact_uri: str


@dataclass(frozen=True)
class RunData:
    """The contents of a run: params and tags by name, and each metric's latest point."""

    params: Mapping[str, str]
    tags: Mapping[str, str]
    latest: Sequence[Point]

    @property
    def metrics(self) -> dict[str, float]:
        """The latest value of each metric."""
        return {point.key: point.value for point in self.latest}


@dataclass(frozen=True)
class StoredRun:
    """A run of a store, in the shape of MLflow's own."""

    info: RunInfo
    data: RunData


def named(run_name: str | None, tags: Mapping[str, str]) -> str:
    """A run's name, which early releases kept in a tag only."""
    return run_name or tags.get(_RUN_NAME) or ""


def points_of(rows: Iterable[tuple[str, float, int, int]]) -> tuple[Point, ...]:
    """Points from name, value, step and timestamp, by name."""
    return tuple(sorted((Point(*row) for row in rows), key=lambda point: point.key))


class Store(Protocol):
    """A store that is read; its methods may be called from several threads.

    Direct readers raise anything where they fail, and MLflow's client then does the same work.
    """

    @property
    def uri(self) -> str:
        """The absolute address, which may contain credentials."""
        ...

    def experiment(self, experiment_id: str) -> Experiment | None:
        """The experiment with this id, deleted or not; None without one."""
        ...

    def experiment_named(self, name: str) -> Experiment | None:
        """The experiment with this name, deleted or not; None without one."""
        ...

    def experiments(self) -> list[Experiment]:
        """The experiments that are not deleted; of very many, the 1,000 that changed last."""
        ...

    def experiment_of(self, run_id: str) -> str:
        """The id of a run's experiment."""
        ...

    def runs(
        self, experiment_id: str, conditions: Sequence[str], raw: Sequence[str] = ()
    ) -> list[StoredRun]:
        """The runs of an experiment that are not deleted, newest first.

        Args:
            experiment_id: the experiment.
            conditions: those of `search.expressions`. A store may return more runs than these
                select, except for `search.TRACKED`.
            raw: conditions in MLflow's search language, which must all hold.

        Raises:
            UsageError: MLflow cannot read `raw`.
        """
        ...

    def points(self, run_id: str, names: Sequence[str]) -> dict[str, Series]:
        """All points of some metrics of a run, in the order of time, step and value."""
        ...

    def history(self, run: StoredRun) -> pa.Table:
        """The columnar file of a run.

        Raises:
            Unsure: only MLflow's client can tell.
            Exception: it is missing, damaged, or cannot be read at present.
        """
        ...

    def close(self) -> None:
        """Close all connections."""
        ...
