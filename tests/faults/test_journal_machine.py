"""In any order of writing, dying and delivering, the store ends up with what was journalled."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lrtrack.errors import SinkLost, TrackerUnavailable
from lrtrack.journal import history_table
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader
from lrtrack.journal.segments import segments_of
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, StepRecord, Target
from lrtrack.shipping import batch
from lrtrack.shipping.delivery import Delivery
from lrtrack.trackers.base import Remote

RUN = Run("f" * 32, "machine", targets=(Target("store", experiment="x"),))
NAMES = st.sampled_from(["loss", "lr", "val_loss"])
VALUES = st.floats(allow_nan=False, width=64)
METRICS = st.dictionaries(NAMES, VALUES, min_size=1)
Point = tuple[int, str, str]


def values(table: pa.Table) -> dict[int, dict[str, float]]:
    """Returns the metrics that a table has at each step."""
    return {
        row["step"]: {
            name: value
            for name, value in row.items()
            if name not in ("step", "time") and value is not None
        }
        for row in table.to_pylist()
    }


class Killed(BaseException):
    """The shipper dies at this point."""


class Store:
    """A tracker that keeps every point it receives, duplicates included, as MLflow does.

    `ailing` is the fault of the next write: `"answer"` stores it and loses the answer, `"half"`
    stores
    the first half only, `"kill"` stores it and kills the shipper.
    """

    name = "store"
    portable = True
    durable = True

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.state: State | None = None
        self.history: pa.Table | None = None
        self.ailing: str | None = None

    def sink(self, run: Run, target: Target, remote_id: str | None) -> Store:
        return self

    def open(self) -> Remote:
        self.state = State.RUNNING
        return Remote(RUN.id)

    def write(self, records: Sequence[StepRecord], doubt: bool) -> None:
        points = [(r.step, name, repr(value)) for r in records for name, value in r.metrics.items()]
        if doubt:
            points = [point for point in points if point not in self.points]
        ailing, self.ailing = self.ailing, None
        self.points += points[: len(points) // 2] if ailing == "half" else points
        if ailing == "kill":
            raise Killed
        if ailing == "lost":
            raise SinkLost("gone")
        if ailing is not None:
            raise TrackerUnavailable("no answer")

    def upload(self, history: Path) -> None:
        self.history = history_table.read_parquet(history)

    def close(self, state: State, ended: float, summary: Mapping[str, float]) -> None:
        self.state = state

    def release(self) -> None:
        pass


class JournalMachine(RuleBasedStateMachine):
    """The real writer, reader, cursor and delivery, against a model made of lists."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.layout = Layout(self.folder / ".lrtrack")
        self.layout.create()
        self.path = self.layout.journal(RUN.id)
        self.cursor = self.layout.cursor(RUN.id, "store")
        self.store = Store()
        self.writer: JournalWriter | None = None
        self.delivery: Delivery | None = None
        self.step = -1
        self.waiting: dict[
            int, dict[str, float]
        ] = {}  # rows that no flush has written to the file yet
        self.kept: dict[int, dict[str, float]] = {}
        # All values that the writer was given, replaced ones included: its own thread may have
        # written any of them to the file before they were replaced.
        self.given: set[Point] = set()
        self.ended = False

    @initialize()
    def begin(self) -> None:
        self._open()

    def _open(self) -> None:
        self.writer = JournalWriter(self.path, RUN)
        self.ended = False

    @rule(metrics=METRICS)
    @precondition(lambda self: self.writer is not None)
    def append(self, metrics: dict[str, float]) -> None:
        assert self.writer is not None
        self.step += 1
        self.writer.append(self.step, 100.0 + self.step, dict(metrics))
        self.waiting[self.step] = dict(metrics)
        self.given |= {(self.step, name, repr(value)) for name, value in metrics.items()}

    @rule(count=st.integers(3, 9), flushed=st.booleans())
    @precondition(lambda self: self.writer is not None)
    def train(self, count: int, flushed: bool) -> None:
        for _ in range(count):
            self.append({"loss": float(self.step)})
        if flushed:
            self.flush(asked=True)

    @rule(metrics=METRICS)
    @precondition(lambda self: self.writer is not None and self.step >= 0)
    def amend(self, metrics: dict[str, float]) -> None:
        assert self.writer is not None
        self.writer.amend(self.step, 100.0 + self.step, metrics)
        self.waiting.setdefault(self.step, {}).update(metrics)
        self.given |= {(self.step, name, repr(value)) for name, value in metrics.items()}

    @rule(asked=st.booleans())
    @precondition(lambda self: self.writer is not None)
    def flush(self, asked: bool) -> None:
        assert self.writer is not None
        if asked:
            self.writer.event("flush")
        else:
            self.writer.flush()
        self._settle()

    def _settle(self) -> None:
        for step, metrics in self.waiting.items():
            self.kept.setdefault(step, {}).update(metrics)
        self.waiting.clear()

    @rule()
    @precondition(lambda self: self.writer is not None)
    def kill_the_trainer(self) -> None:
        """Rows outside the file are lost, rows inside are kept, and the next writer appends to
        them.
        """
        assert self.writer is not None
        self.writer.release()
        table = JournalReader(self.path).table()[0]  # its own thread may have written the rest
        self.writer = None
        present = {(s, n): v for s, m in values(table).items() for n, v in m.items()}
        for step, metrics in self.kept.items():
            for name, value in metrics.items():
                newer = self.waiting.get(step, {}).get(name, value)
                assert present[step, name] in (value, newer)
        self.waiting = values(table)
        self._settle()
        self.step = max(self.kept, default=-1)

    @rule(cut=st.binary(max_size=12))
    @precondition(lambda self: self.writer is None and not self.ended)
    def tear_the_tail(self, cut: bytes) -> None:
        """A killed writer may leave an incomplete frame."""
        head = b"\xabLRJ\x02\xff\xff\x00\x00" + cut
        with segments_of(self.path)[-1].path.open("ab") as file:
            file.write(head)

    @rule()
    @precondition(lambda self: self.writer is None)
    def resume(self) -> None:
        self._open()

    @rule()
    @precondition(lambda self: self.writer is not None)
    def end(self) -> None:
        assert self.writer is not None
        self.writer.close(State.FINISHED)
        self.writer = None
        self.ended = True
        self._settle()

    @rule()
    def ship(self) -> None:
        """Delivers one batch."""
        self._ship(None)

    @rule()
    def ship_unheard(self) -> None:
        """Delivers one batch whose answer is lost."""
        self._ship("answer")

    @rule()
    def ship_half(self) -> None:
        """Delivers one batch of which the tracker stores half."""
        self._ship("half")

    @rule()
    def ship_and_die(self) -> None:
        """Delivers one batch, after which the shipper dies before it moves the cursor."""
        self._ship("kill")

    @rule()
    def ship_to_a_sink_that_is_lost(self) -> None:
        """Delivers one batch, after which everything must be delivered again."""
        self._ship("lost")

    def _ship(self, ailing: str | None) -> None:
        if self.delivery is None:
            self.delivery = Delivery(self.layout, RUN.id, RUN.targets[0], self.store)
        self.store.ailing = ailing
        try:
            self.delivery.advance()
        except TrackerUnavailable as error:
            self.delivery.note(error, final=False)
        except Killed:
            self.delivery = None
        self.store.ailing = None

    @rule()
    def kill_the_shipper(self) -> None:
        self.delivery = None

    @rule(content=st.sampled_from([b"", b"{", b'{"offset": -1}', b'{"offset": "1"}', b"[]"]))
    def corrupt_the_cursor(self, content: bytes) -> None:
        """Damages the cursor as a disk can; a process that has read it before is replaced as
        well.
        """
        self.delivery = None
        if self.cursor.exists():
            self.cursor.write_bytes(content)

    @invariant()
    def nothing_twice_and_nothing_invented(self) -> None:
        points = self.store.points
        assert len(set(points)) == len(points)
        assert set(points) <= self.given

    @invariant()
    def nothing_is_taken_for_damage(self) -> None:
        assert self.delivery is None or self.delivery.damage is None

    def teardown(self) -> None:
        """In the end everything has arrived, with the last value of each metric."""
        try:
            if self.writer is not None:
                self.end()
            self.delivery = Delivery(self.layout, RUN.id, RUN.targets[0], self.store)
            while self.delivery.advance():
                pass
            self._compare()
        finally:
            if self.writer is not None:
                self.writer.release()
            shutil.rmtree(self.folder)

    def _compare(self) -> None:
        latest: dict[tuple[int, str], set[str]] = {}
        for step, name, value in self.store.points:
            latest.setdefault((step, name), set()).add(value)
        expected = {(s, n): repr(v) for s, m in self.kept.items() for n, v in m.items()}
        assert latest.keys() == expected.keys()
        assert all(value in latest[key] for key, value in expected.items())
        self.nothing_twice_and_nothing_invented()
        table = self.store.history
        history = {} if table is None else values(table)
        assert {s: m for s, m in history.items() if m} == self.kept
        assert self.store.state is (State.FINISHED if self.ended else State.FAILED)
        assert self.delivery is not None
        assert self.delivery.complete


@contextmanager
def small_batches() -> Iterator[None]:
    """Sends batches of a few steps, so that their borders fall everywhere."""
    before, batch.BATCH = batch.BATCH, 4
    try:
        yield
    finally:
        batch.BATCH = before


def test_any_order_of_events(repeats) -> None:
    """In any order of events nothing arrives twice, nothing is invented, and in the end all is
    there.
    """
    chosen = settings(
        max_examples=repeats(80, 3000),
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=repeats(1, 0) == 1,
        database=None,
    )
    with small_batches():
        run_state_machine_as_test(JournalMachine, settings=chosen)
