"""A store that is read by MLflow's client: any that MLflow knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from lrtrack.errors import UsageError
from lrtrack.trackers.mlflow import points
from lrtrack.trackers.mlflow.errors import with_retries
from lrtrack.trackers.mlflow.step_points import download_history
from lrtrack.trackers.mlflow.stores.base import (
    Experiment,
    RunData,
    RunInfo,
    StoredRun,
    points_of,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from mlflow import MlflowClient

    from lrtrack.records.alignment import Series

T = TypeVar("T")

_PAGE = 500


class ClientStore:
    """Reads through MLflow's client, and repeats requests that fail for a moment.

    Args:
        mlflow: a client of the store.
        uri: the store's address as messages show it; None: MLflow's default.
    """

    def __init__(self, mlflow: MlflowClient, uri: str | None) -> None:
        self.uri = str(mlflow.tracking_uri)
        self._mlflow = mlflow
        self._shown = uri
        self._open = ExitStack()
        self._points = self._open.enter_context(points.opened(mlflow))

    def experiment(self, experiment_id: str) -> Experiment | None:
        """See `Store`."""
        return self._ask(lambda: _experiment(_existing(self._mlflow.get_experiment, experiment_id)))

    def experiment_named(self, name: str) -> Experiment | None:
        """See `Store`."""
        return self._ask(lambda: _experiment(self._mlflow.get_experiment_by_name(name)))

    def experiments(self) -> list[Experiment]:
        """See `Store`."""
        found = self._ask(self._mlflow.search_experiments)
        return [e for e in map(_experiment, found) if e is not None]

    def experiment_of(self, run_id: str) -> str:
        """See `Store`."""
        return str(self._ask(lambda: self._mlflow.get_run(run_id)).info.experiment_id)

    def runs(
        self, experiment_id: str, conditions: Sequence[str], raw: Sequence[str] = ()
    ) -> list[StoredRun]:
        """See `Store`."""
        condition = " and ".join([*conditions, *raw])
        return self._ask(lambda: self._search(experiment_id, condition, is_raw=bool(raw)))

    def points(self, run_id: str, names: Sequence[str]) -> dict[str, Series]:
        """See `Store`."""
        return self._ask(lambda: self._points(run_id, names))

    def history(self, run: StoredRun) -> pa.Table:
        """See `Store`."""
        info = run.info
        return self._ask(lambda: download_history(self._mlflow, info.run_id, info.artifact_uri))

    def close(self) -> None:
        """Close all connections."""
        self._open.close()

    def _ask(self, request: Callable[[], T]) -> T:
        return with_retries(self._shown, request)

    def _search(self, experiment_id: str, condition: str, *, is_raw: bool) -> list[StoredRun]:
        runs: list[StoredRun] = []
        token = None
        while True:
            try:
                page = self._mlflow.search_runs(
                    [experiment_id], condition, max_results=_PAGE, page_token=token
                )
            except Exception as error:
                if getattr(error, "error_code", "") == "INVALID_PARAMETER_VALUE" and is_raw:
                    raise UsageError(
                        f"MLflow cannot read the --filter-raw: {error}. Fix: write it in MLflow's "
                        'search language, for example "metrics.loss_final < 0.6".'
                    ) from error
                raise
            runs += map(stored_run, page)
            token = page.token
            if not token:
                return runs


def stored_run(mlflow_run: Any) -> StoredRun:
    """A run of MLflow's client."""
    info, data = mlflow_run.info, mlflow_run.data
    latest = getattr(data, "_metric_objs", None)
    rows = (
        [(name, value, 0, 0) for name, value in data.metrics.items()]
        if latest is None
        else [(point.key, point.value, point.step, point.timestamp) for point in latest]
    )
    return StoredRun(
        RunInfo(
            run_id=info.run_id,
            run_name=info.run_name or "",
            experiment_id=info.experiment_id,
            status=info.status,
            start_time=info.start_time,
            end_time=info.end_time,
            artifact_uri=info.artifact_uri or "",
        ),
        RunData(data.params, data.tags, points_of(rows)),
    )


def _existing(request: Callable[[str], Any], text: str) -> Any:
    """The result of a request for an id; None where MLflow has nothing with it."""
    try:
        return request(text)
    except Exception as error:
        if getattr(error, "error_code", "") in (
            "RESOURCE_DOES_NOT_EXIST",
            "INVALID_PARAMETER_VALUE",
        ):
            return None
        raise


def _experiment(experiment: Any) -> Experiment | None:
    if experiment is None:
        return None
    return Experiment(
        str(experiment.experiment_id), experiment.name, str(experiment.lifecycle_stage)
    )
