"""The in-memory tracker."""

import numpy as np
import pytest

from lrtrack.errors import NothingFound, UsageError
from lrtrack.records import Run, State, StepRecord
from lrtrack.trackers.base import Query, Tracker
from lrtrack.trackers.memory import MemoryTracker


@pytest.fixture
def sink(tracker):
    """The sink of one run."""
    return tracker.sink(Run(id="a" * 32, name="one"), tracker.target("X"), None)


def test_it_is_a_tracker(tracker):
    """The tracker is a `Tracker`, and never has an active run that lrtrack did not open."""
    assert isinstance(tracker, Tracker)
    assert (tracker.active(), tracker.status()) == (False, "0 runs in this process")
    assert (
        tracker.target("X").experiment,
        tracker.target(None).experiment,
        tracker.target(None).portable,
    ) == ("X", "lrtrack", False)


def test_what_is_written_is_read(tracker, sink):
    """Records of one step are merged, steps are sorted, and absent values are marked."""
    assert sink.open().id == "a" * 32
    sink.write([StepRecord(1, 5.0, {"loss": 2.0}), StepRecord(0, 4.0, {"loss": np.nan})], False)
    sink.write([StepRecord(1, 6.0, {"acc": 0.5})], True)
    sink.close(State.FINISHED, 7.0, {"loss_final": 2.0})
    (found,) = tracker.histories(Query("X"))

    assert (found.steps.tolist(), found.times.tolist()) == ([0, 1], [4.0, 5.0])
    assert found.present["loss"].tolist() == [True, True]
    assert found.present["acc"].tolist() == [False, True]
    assert (found.state, found.ended) == ("FINISHED", 7.0)
    assert tracker.stored["a" * 32].summary == {"loss_final": 2.0}


def test_the_columnar_file_is_kept(tracker, sink, tmp_path):
    """The bytes of an upload are kept with the run."""
    path = tmp_path / "history.parquet"
    path.write_bytes(b"columns")
    sink.upload(path)

    assert tracker.stored["a" * 32].uploaded == b"columns"


def test_unknown_experiments_and_filters(tracker, sink):
    """An unknown experiment is an error with the nearest name, and raw filters are refused."""
    sink.open()
    with pytest.raises(NothingFound, match="Unknown experiment 'Y'"):
        list(tracker.histories(Query("Y")))
    with pytest.raises(UsageError, match="no filter language"):
        list(tracker.histories(Query("X", raw_filters=["a=1"])))

    assert len(list(tracker.histories(Query()))) == 1
    assert list(MemoryTracker().histories(Query())) == []
