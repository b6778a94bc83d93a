"""The MLflow tracker keeps the contract of `lrtrack.testing`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from lrtrack.testing import TrackerContract
from lrtrack.trackers.base import Tracker
from lrtrack.trackers.mlflow import MlflowTracker


class TestMlflow(TrackerContract):
    """The MLflow tracker keeps the contract with an embedded SQLite store."""

    raw_filter = "params.seed = '0'"

    @pytest.fixture
    def tracker(self, store: str, monkeypatch: pytest.MonkeyPatch) -> MlflowTracker:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
        return MlflowTracker()

    def points(self, tracker: Tracker, remote_id: str) -> Mapping[str, Sequence[float]]:
        import mlflow

        client = mlflow.MlflowClient(tracking_uri=tracker.target(None, "x").uri)
        return {
            name: [point.step for point in client.get_metric_history(remote_id, name)]
            for name in client.get_run(remote_id).data.metrics
        }
