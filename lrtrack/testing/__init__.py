"""The contract of trackers, as pytest tests that third-party trackers inherit.

Your tracker keeps the contract if these tests pass:

    import pytest
    from lrtrack.testing import TrackerContract

    class TestMyTracker(TrackerContract):
        @pytest.fixture
        def tracker(self, tmp_path):
            return MyTracker(tmp_path / "store")

If your tracker cannot do something, set the class attribute for it, see `Contract`. Tests of parts
that a tracker lacks (a writing half, writing from another process) are skipped.

contract.py   the attributes that a subclass may set, and helpers of all tests
protocol.py   names, targets and status, without writing anything
writing.py    the methods of a sink
delivering.py a sink under the shipper, which may be killed at any moment
reading.py    histories
training.py   real trainings under `track()`
"""

from __future__ import annotations

from lrtrack._optional import load

load("pytest")  # first, for the error that says how to install it

from lrtrack.testing.contract import Contract  # noqa: E402
from lrtrack.testing.delivering import Delivering  # noqa: E402
from lrtrack.testing.protocol import Protocols  # noqa: E402
from lrtrack.testing.reading import Reading  # noqa: E402
from lrtrack.testing.training import Training  # noqa: E402
from lrtrack.testing.writing import Writing  # noqa: E402

__all__ = ["Contract", "TrackerContract"]


class TrackerContract(Protocols, Writing, Delivering, Reading, Training):
    """All tests; a subclass whose name begins with `Test` supplies the fixture `tracker`.

    The tracker may contain other runs: each test uses a new experiment.
    """
