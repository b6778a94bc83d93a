"""The contract that trackers keep, as tests that third-party trackers run with pytest.

A tracker of your own passes if this file of your tests does:

    import pytest
    from lrtrack.testing import TrackerContract

    class TestMyTracker(TrackerContract):
        @pytest.fixture
        def tracker(self, tmp_path):
            return MyTracker(tmp_path / "store")

What a tracker may be unable to do is said by attributes of the class, see `Contract`: whatever is
not said is asked for. Tests of what a tracker has not (a writing half, other processes, filters)
are skipped.

contract.py   what a subclass may say, and what all tests use
protocol.py   what can be asked without writing anything
writing.py    the writing half by itself
delivering.py the writing half as the shipper uses it, which may be killed at any moment
reading.py    what is read back
training.py   real trainings under `track()`
"""

from __future__ import annotations

from lrtrack._optional import load

load("pytest")  # first: without it, its name and the line that installs it

from lrtrack.testing.contract import Contract  # noqa: E402
from lrtrack.testing.delivering import Delivering  # noqa: E402
from lrtrack.testing.protocol import Protocols  # noqa: E402
from lrtrack.testing.reading import Reading  # noqa: E402
from lrtrack.testing.training import Training  # noqa: E402
from lrtrack.testing.writing import Writing  # noqa: E402

__all__ = ["Contract", "TrackerContract"]


class TrackerContract(Protocols, Writing, Delivering, Reading, Training):
    """All tests; a subclass whose name begins with `Test` supplies the fixture `tracker`.

    The fixture's tracker may have runs in it already: each test makes an experiment of its own.
    """
