"""The TensorBoard tracker keeps the contract of all trackers: `pytest test_tracker.py`."""

from collections import defaultdict
from pathlib import Path

import pytest

from lrtrack.testing import TrackerContract
from lrtrack_tensorboard import TensorBoardTracker, events, logdir


class TestTensorBoard(TrackerContract):
    """Event files in a temporary folder."""

    @pytest.fixture
    def tracker(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TensorBoardTracker:
        monkeypatch.setenv("TENSORBOARD_LOGDIR", str(tmp_path / "runs"))
        return TensorBoardTracker()

    def points(self, tracker: TensorBoardTracker, remote_id: str) -> dict[str, list[int]]:
        """Steps of all stored values, which show whether a value is in the files twice."""
        steps = defaultdict(list)
        for name, step, _, _ in events.read(logdir() / remote_id).points:
            steps[name].append(step)
        return steps
