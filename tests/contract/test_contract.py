"""The memory tracker and the local tracker keep the contract of `lrtrack.testing`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lrtrack.testing import TrackerContract
from lrtrack.trackers.local import LocalTracker
from lrtrack.trackers.memory import MemoryTracker


class TestMemory(TrackerContract):
    """The memory tracker keeps the contract."""

    @pytest.fixture
    def tracker(self) -> MemoryTracker:
        return MemoryTracker()


class TestLocal(TrackerContract):
    """The local tracker keeps the contract, except for the writing half that it lacks."""

    @pytest.fixture
    def tracker(self) -> LocalTracker:
        return LocalTracker()


def test_without_pytest() -> None:
    """Without pytest, importing `lrtrack.testing` says how to install it."""
    code = "import sys; sys.modules['pytest'] = None; import lrtrack.testing"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("Fix: pip install 'pytest'")
