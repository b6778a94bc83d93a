"""The end of a run is stored whatever else its tracker refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lrtrack.errors import PartRefused, PartUnavailable, SinkLost, TrackerError, TrackerUnavailable
from lrtrack.journal import history_table
from lrtrack.journal.layout import Layout
from lrtrack.journal.parquet_guard import MAX_VALUES
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


class Stored(Refusing):
    """A sink that reads the file that it gets."""

    def upload(self, history: Path) -> None:
        """Notes the steps in the file."""
        self.steps = history_table.read_parquet(history)["step"].to_pylist()


@pytest.mark.parametrize(("first", "steps"), [((), [0, 1]), ((5,), [5, 6])])
def test_the_steps_of_the_file(ending, first: tuple[int, ...], steps: list[int]) -> None:
    """The file has the steps of the tracker's run, from the block's place in it on."""
    sink = Stored()

    assert ending.store(sink, *first) is None
    assert (sink.steps, sink.closed) == (steps, OUTCOME)


def test_a_run_without_steps(tmp_path: Path) -> None:
    """A run without any record ends without a file and without losses."""
    path = tmp_path / f"{'a' * 32}.journal"
    JournalWriter(path, Run("a" * 32, "mine")).close(State.FINISHED, diagnoses=[])
    sink = Refusing(upload=AssertionError("not to be called"))

    assert RunEnd(JournalReader(path), Layout(tmp_path)).store(sink) is None
    assert sink.closed == [(State.FINISHED, {})]


def test_a_killed_run_without_steps(tmp_path: Path) -> None:
    """It ends as FAILED at the time at which it began."""
    path = tmp_path / f"{'a' * 32}.journal"
    JournalWriter(path, Run("a" * 32, "mine", started=7.0)).release()
    ended: list[tuple[State, float]] = []
    sink = Refusing()
    sink.close = lambda state, when, summary: ended.append((state, when))  # type: ignore[method-assign]
    RunEnd(JournalReader(path), Layout(tmp_path)).store(sink)

    assert ended == [(State.FAILED, 7.0)]


@pytest.mark.parametrize(("size", "is_large"), [(2**31, False), (2**31 + 1, True)])
def test_from_which_size_on_there_is_no_file(
    ending, monkeypatch: pytest.MonkeyPatch, size: int, is_large: bool
) -> None:
    """A journal of up to eight bytes a value that a report would read is stored as one file."""
    monkeypatch.setattr(JournalReader, "size", lambda self: size)
    monkeypatch.setattr("lrtrack.journal.segments.LIMIT", 2**40)
    said = ending.store(Refusing())

    assert size - is_large == 8 * MAX_VALUES
    assert (said is not None) is is_large


def test_a_server_that_asks_for_a_pause(ending) -> None:
    """Its own error is raised twice, which nothing follows; then the run ends without the file."""
    sink = Refusing(upload=TrackerUnavailable("busy", 7.0))
    for _ in range(ATTEMPTS - 1):
        with pytest.raises(TrackerUnavailable, match="busy") as caught:
            ending.store(sink)
        assert (type(caught.value), caught.value.retry_after) == (TrackerUnavailable, 7.0)
    said = ending.store(sink)

    assert (said, sink.closed) == (f"{FILE} (busy)", OUTCOME)


def test_the_longest_pause_counts(ending) -> None:
    """Of several parts that may be taken later, the one that waits longest decides when."""
    sink = Refusing(
        upload=TrackerUnavailable("a"), complete=TrackerError("no"), close=PartUnavailable("b", 9.0)
    )
    with pytest.raises(PartUnavailable) as caught:
        ending.store(sink)

    assert str(caught.value) == (
        f"cannot store {FILE} (a); the diagnoses (no); the outcome (b) yet"
    )
    assert caught.value.retry_after == 9.0


def test_a_sink_that_keeps_nothing_is_not_asked_again(ending) -> None:
    """Where only `close` makes it durable, a run that is closed is not sent again for its file."""
    sink = Refusing(upload=TrackerUnavailable("busy"))
    sink.durable = False

    assert ending.store(sink) == f"{FILE} (busy)"


def test_no_room_for_temporary_files(ending, monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses are stored although the file cannot be written, which is tried again."""

    def full(layout: Layout) -> Any:
        raise OSError(28, "full")

    monkeypatch.setattr("lrtrack.shipping.temporary.folder", full)
    sink = Refusing()
    with pytest.raises(PartUnavailable, match="temporary files cannot be written"):
        ending.store(sink)

    assert sink.closed == OUTCOME
