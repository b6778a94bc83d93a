"""The contract suite that ships in `lrtrack.testing`, run on what needs nothing but lrtrack."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lrtrack.testing import TrackerContract
from lrtrack.trackers.local import LocalTracker
from lrtrack.trackers.memory import MemoryTracker


class TestMemory(TrackerContract):
    """This process's memory."""

    @pytest.fixture
    def tracker(self) -> MemoryTracker:
        return MemoryTracker()


class TestLocal(TrackerContract):
    """The journals themselves."""

    @pytest.fixture
    def tracker(self) -> LocalTracker:
        return LocalTracker()


def test_without_pytest() -> None:
    """Whoever lacks pytest is told what to install."""
    code = "import sys; sys.modules['pytest'] = None; import lrtrack.testing"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("install it with: pip install 'pytest'")
