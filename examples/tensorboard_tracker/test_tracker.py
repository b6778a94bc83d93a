"""The contract of all trackers, kept by this one: `pytest test_tracker.py`."""

from collections import defaultdict
from pathlib import Path

import pytest

from lrtrack.testing import TrackerContract
from lrtrack_tensorboard import TensorBoardTracker, events, logdir


class TestTensorBoard(TrackerContract):
    """Event files in a folder of the test's own."""

    @pytest.fixture
    def tracker(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TensorBoardTracker:
        monkeypatch.setenv("TENSORBOARD_LOGDIR", str(tmp_path / "runs"))
        return TensorBoardTracker()

    def points(self, tracker: TensorBoardTracker, remote_id: str) -> dict[str, list[int]]:
        """What histories cannot show: whether a value lies in the files twice."""
        found = defaultdict(list)
        for name, step, _, _ in events.read(logdir() / remote_id).points:
            found[name].append(step)
        return found
