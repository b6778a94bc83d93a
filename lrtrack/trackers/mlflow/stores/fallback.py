"""A store that is read directly, and by MLflow's client from the first failure on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from lrtrack.trackers.mlflow.stores.base import Experiment, Store, StoredRun, Unsure

if TYPE_CHECKING:
    import pyarrow as pa

    from lrtrack.records.alignment import Series

T = TypeVar("T")


class FallbackStore:
    """Reads directly while that works; the client then gives the answer, or the error.

    Args:
        direct: reads without MLflow.
        open_client: opens the same store with MLflow's client; called at most once.
    """

    def __init__(self, direct: Store, open_client: Callable[[], Store]) -> None:
        self._direct = direct
        self._open_client = open_client
        self._client: Store | None = None
        self._lock = threading.Lock()

    @property
    def uri(self) -> str:
        """The absolute address, which may contain credentials."""
        return self._direct.uri

    def experiment(self, experiment_id: str) -> Experiment | None:
        """See `Store`."""
        return self._ask(lambda store: store.experiment(experiment_id))

    def experiment_named(self, name: str) -> Experiment | None:
        """See `Store`."""
        return self._ask(lambda store: store.experiment_named(name))

    def experiments(self) -> list[Experiment]:
        """See `Store`."""
        return self._ask(lambda store: store.experiments())

    def experiment_of(self, run_id: str) -> str:
        """See `Store`."""
        return self._ask(lambda store: store.experiment_of(run_id))

    def runs(
        self, experiment_id: str, conditions: Sequence[str], raw: Sequence[str] = ()
    ) -> list[StoredRun]:
        """See `Store`."""
        return self._ask(lambda store: store.runs(experiment_id, conditions, raw))

    def points(self, run_id: str, names: Sequence[str]) -> dict[str, Series]:
        """See `Store`."""
        return self._ask(lambda store: store.points(run_id, names))

    def history(self, run: StoredRun) -> pa.Table:
        """See `Store`. That a file is missing or damaged needs no second opinion."""
        if self._client is None:
            try:
                return self._direct.history(run)
            except Unsure:
                pass
        return self._by_client().history(run)

    def close(self) -> None:
        """Close all connections."""
        self._direct.close()
        if self._client is not None:
            self._client.close()

    def _ask(self, request: Callable[[Store], T]) -> T:
        if self._client is None:
            try:
                return request(self._direct)
            except Exception:  # noqa: S110 (the client reports what is wrong with the store)
                pass
        return request(self._by_client())

    def _by_client(self) -> Store:
        with self._lock:
            if self._client is None:
                self._client = self._open_client()
            return self._client
