"""The end of a run is stored whatever else its tracker refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lrtrack.errors import PartRefused, PartUnavailable, SinkLost, TrackerError, TrackerUnavailable
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State
from lrtrack.schedules import Schedule
from lrtrack.shipping import run_end
from lrtrack.shipping.run_end import ATTEMPTS, RunEnd

FILE = "lrtrack/history.parquet"


class Refusing:
    """A sink some methods of which raise."""

    durable = True

    def __init__(self, **errors: Exception) -> None:
        self.errors = errors
        self.closed: list[tuple[State, dict[str, float]]] = []
        self.completed: list[Run] = []

    def upload(self, history: Path) -> None:
        """Uploads a file, or raises."""
        self._fail("upload")

    def complete(self, run: Run) -> None:
        """Stores diagnoses, or raises."""
        self.completed.append(run)
        self._fail("complete")

    def close(self, state: State, ended: float, summary: dict[str, float]) -> None:
        """Ends the run, then raises."""
        if not isinstance(self.errors.get("close"), TrackerUnavailable | SinkLost):
            self.closed.append((state, summary))
        self._fail("close")

    def _fail(self, name: str) -> None:
        if name in self.errors:
            raise self.errors[name]


@pytest.fixture
def ending(tmp_path: Path) -> RunEnd:
    """The end of a journalled run of two steps."""
    path = tmp_path / f"{'a' * 32}.journal"
    writer = JournalWriter(path, Run("a" * 32, "mine"))
    for step, loss in enumerate([2.0, 1.0]):
        writer.append(step, 10.0 + step, {"loss": loss})
    writer.close(State.FINISHED, diagnoses=[])
    return RunEnd(JournalReader(path), Layout(tmp_path))


def test_a_killed_training_is_diagnosed_by_its_records(tmp_path: Path) -> None:
    """Without an end in the journal, the tracker gets the diagnoses that the records show."""
    path = tmp_path / f"{'a' * 32}.journal"
    writer = JournalWriter(path, Run("a" * 32, "mine", schedule=Schedule("StepLR", {})))
    for step, loss in enumerate([2.0, float("nan"), float("nan")]):
        writer.append(step, 10.0 + step, {"lr": 0.1, "loss": loss})
    writer.close(State.FINISHED, diagnoses=[])
    (end,) = [e for e in JournalReader(path).entries() if e.event and e.event["event"] == "end"]
    path.write_bytes(path.read_bytes()[: end.start])
    sink = Refusing()

    assert RunEnd(JournalReader(path), Layout(tmp_path)).store(sink) is None
    assert [[d["code"] for d in run.diagnoses or ()] for run in sink.completed] == [["LR006"]]
    assert [state for state, _ in sink.closed] == [State.FAILED]


OUTCOME = [(State.FINISHED, {"loss_final": 1.0, "loss_best": 1.0})]


@pytest.mark.parametrize(
    ("errors", "missing"),
    [
        ({}, None),
        ({"upload": TrackerError("no")}, f"{FILE} (no)"),
        ({"complete": TrackerError("no")}, "the diagnoses (no)"),
        ({"upload": TrackerError("no"), "complete": TrackerError("no")},
         f"{FILE} and the diagnoses (no)"),
        ({"close": PartRefused("no")}, "the outcome (no)"),
    ],
)  # fmt: skip
def test_what_is_refused_for_good_is_missing(ending, errors: Any, missing: str | None) -> None:
    """A run ends once when its tracker rejects a file for good, and the missing file is
    reported.
    """
    sink = Refusing(**errors)
    said = ending.store(sink)

    assert said == missing
    assert sink.closed == OUTCOME


@pytest.mark.parametrize("error", [TrackerUnavailable("busy"), RuntimeError("busy")])
def test_what_may_be_taken_later_is_tried_again(ending, error: Exception) -> None:
    """A temporary failure is retried a few times, then the run ends without that part."""
    sink = Refusing(upload=error)
    for _ in range(ATTEMPTS - 1):
        with pytest.raises(PartUnavailable, match=r"cannot store lrtrack/history.parquet .*busy"):
            ending.store(sink)
    said = ending.store(sink)

    assert said is not None
    assert "busy" in said
    assert sink.closed == OUTCOME * ATTEMPTS


@pytest.mark.parametrize("error", [TrackerUnavailable("away"), SinkLost("gone")])
def test_a_run_that_cannot_be_ended(ending, error: Exception) -> None:
    """If a run cannot be ended, the tracker's error is raised rather than that of the file."""
    sink = Refusing(upload=TrackerError("no"), close=error)
    with pytest.raises(type(error), match=str(error)):
        ending.store(sink)

    assert sink.closed == []


def test_a_journal_that_no_report_could_read_as_one_file(
    ending, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run with more values than one file may hold ends with its losses, without the file."""
    monkeypatch.setattr(run_end, "LARGEST", 2**8)
    monkeypatch.setattr(run_end, "MOST", 1)
    sink = Refusing(upload=AssertionError("not to be called"))
    said = ending.store(sink)

    assert said == f"{FILE} (the run has more than 256 bytes of values, too many for one file)"
    assert sink.closed == OUTCOME
