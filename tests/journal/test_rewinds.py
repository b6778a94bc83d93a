"""Returns to an earlier step: whoever reads a journal finds the surviving course alone."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrtrack.errors import TrackerUnavailable
from lrtrack.journal.course import course_of, event_rewind
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Rewind, Run, State, StepRecord, Target, abandoned, with_rewind
from lrtrack.records.rewind import rewind_of, rewinds_from, rewinds_listed
from lrtrack.shipping import batch
from lrtrack.shipping.delivery import Delivery
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker
from lrtrack.trackers.memory import MemoryTracker
from lrtrack.tracking.live_summary import LiveSummary

RUN = Run("e" * 32, "rewound", targets=(Target("memory", experiment="x"),))

#: Train so many steps, or go back so far; then perhaps write to the file, read it, or deliver.
ACTIONS = st.lists(
    st.tuples(
        st.one_of(st.integers(1, 6), st.integers(-8, -1)),
        st.sampled_from(["", "flush", "summary", "deliver", "lost answer", "new shipper"]),
    ),
    min_size=1,
    max_size=14,
)


class Unheard:
    """A tracker that may lose the answer to a write."""

    def __init__(self) -> None:
        self.inner = MemoryTracker()
        self.is_deaf = False

    def sink(self, run: Run, target: Target, remote_id: str | None) -> Any:
        """A sink that shares the fault."""
        sink = self.inner.sink(run, target, remote_id)
        write = sink.write

        def unheard(records: Sequence[StepRecord], doubt: bool) -> None:
            write(records, doubt)
            if self.is_deaf:
                raise TrackerUnavailable("no answer")

        sink.write = unheard  # type: ignore[method-assign]
        return sink


def values(steps: Sequence[int], losses: Sequence[float]) -> dict[int, float]:
    """Step to loss."""
    return dict(zip(steps, losses, strict=True))


@given(actions=ACTIONS)
@settings(max_examples=60)
def test_every_reader_finds_the_surviving_course(actions: list[tuple[int, str]]) -> None:
    """In any sequence of steps and returns, all readers have the last record of each step that was
    not abandoned.
    """
    before, batch.BATCH = batch.BATCH, 4
    with tempfile.TemporaryDirectory() as folder:
        try:
            _check(Layout(Path(folder) / ".lrtrack"), actions)
        finally:
            batch.BATCH = before


def _check(layout: Layout, actions: list[tuple[int, str]]) -> None:
    layout.create()
    path, tracker = layout.journal(RUN.id), Unheard()
    writer = JournalWriter(path, RUN)
    summary = LiveSummary(path, "")
    deliveries: list[Delivery] = []
    course: dict[int, float] = {}
    gone: set[int] = set()
    now, step = 100.0, -1
    for moves, then in actions:
        if moves < 0:
            first = max(0, step + 1 + moves)
            now += 1.0
            writer.rewind(Rewind(first, step, now))
            gone |= {at for at in course if at >= first}
            course = {at: loss for at, loss in course.items() if at < first}
            step = first - 1
        for _ in range(max(moves, 0)):
            now, step = now + 1.0, step + 1
            course[step] = now
            writer.append(step, now, {"loss": now})
        if then:
            writer.event("flush")
        if then == "summary":
            summary.update()
            assert summary.last.get("loss") == (course[step] if course else None)
        if then == "new shipper":
            deliveries.clear()
        if then in ("deliver", "lost answer"):
            deliveries = deliveries or [Delivery(layout, RUN.id, RUN.targets[0], tracker)]
            tracker.is_deaf = then == "lost answer"
            try:
                deliveries[0].advance()
            except TrackerUnavailable as error:
                deliveries[0].note(error, final=False)
            tracker.is_deaf = False
    writer.close(State.FINISHED)
    summary.update()
    last = deliveries[0] if deliveries else Delivery(layout, RUN.id, RUN.targets[0], tracker)
    while last.advance():
        pass
    _compare(layout, tracker, summary, course, gone)


def _compare(
    layout: Layout, tracker: Unheard, summary: LiveSummary, course: dict[int, float], gone: set[int]
) -> None:
    step = max(course, default=-1)
    table = JournalReader(layout.journal(RUN.id)).table()[0]
    stored = tracker.inner.stored[RUN.id]
    (local,) = LocalTracker().histories(Query(directory=layout.root))
    rewinds = local.run.rewinds
    expected = dict(sorted(course.items()))
    losses = table["loss"].to_pylist() if table.num_rows else []
    assert values(table["step"].to_pylist(), losses) == expected
    assert (summary.step, summary.last.get("loss")) == (step, expected.get(step))
    assert summary.loss(last=10**6) == pytest.approx(
        sum(expected.values()) / len(expected) if expected else None
    )
    assert {at: record.metrics["loss"] for at, record in sorted(stored.steps.items())} == expected
    if stored.uploaded is not None:
        uploaded = pq.read_table(_file(layout, stored.uploaded))
        assert values(uploaded["step"].to_pylist(), uploaded["loss"].to_pylist()) == expected
    assert local.steps.tolist() == list(expected)
    assert local.fields().get("rewound", "") == abandoned(rewinds)
    assert gone <= _listed(abandoned(rewinds))


def _file(layout: Layout, content: bytes) -> Path:
    path = layout.root / "uploaded.parquet"
    path.write_bytes(content)
    return path


def _listed(text: str) -> set[int]:
    spans = [span.split("-") for span in text.split(", ") if span]
    return {step for span in spans for step in range(int(span[0]), int(span[-1]) + 1)}


REWINDS = st.builds(
    Rewind, st.integers(0, 30), st.integers(-1, 40), st.floats(0, 100, allow_nan=False)
)


@given(st.lists(REWINDS, max_size=8))
def test_joined_rewinds_abandon_the_same_records(rewinds: list[Rewind]) -> None:
    """What is joined abandons what the single rewinds do, whatever is added twice."""
    ordered = sorted(rewinds, key=lambda rewind: rewind.time)
    joined: tuple[Rewind, ...] = ()
    for rewind in (*ordered, *ordered):
        joined = with_rewind(joined, rewind)

    for step in range(32):
        for when in sorted({rewind.time for rewind in rewinds} | {0.0, 50.0}):
            expected = any(rewind.abandons(step, when) for rewind in rewinds)
            assert any(rewind.abandons(step, when) for rewind in joined) == expected
    assert rewinds_from(rewinds_listed(joined)) == joined


@pytest.mark.parametrize(
    "event",
    [
        {"event": "rewind"},
        {"event": "rewind", "step": "4", "last": 9, "time": 1.0},
        {"event": "rewind", "step": -1, "last": 9, "time": 1.0},
        {"event": "rewind", "step": 4, "last": 9, "time": float("nan")},
        {"event": "rewind", "step": 4, "last": 9, "time": 10**400},
        {"event": "rewind", "step": 4, "last": True, "time": 1.0},
        {"event": "flush", "step": 4, "last": 9, "time": 1.0},
    ],
)
def test_a_malformed_rewind_is_none(event: Mapping[str, Any]) -> None:
    """An event that does not describe a rewind abandons nothing."""
    assert event_rewind(event) is None


def test_what_is_no_list_of_rewinds() -> None:
    """Text, numbers and short lists from a tracker are no rewinds."""
    assert rewinds_from([[1, 2], "x", 3, [4, 9, 1.5], None]) == (Rewind(4, 9, 1.5),)
    assert (rewinds_from("x"), rewind_of([4, 9, 1.5])) == ((), None)


def test_a_journal_without_events_of_this_kind() -> None:
    """A journal of an earlier version has no rewinds and no breaks."""
    course = course_of(JournalReader(Path(__file__).parent / _SAMPLE).entries())

    assert (course.rewinds, course.pace) == ((), None)


_SAMPLE = "data/journal-format-1.journal"
