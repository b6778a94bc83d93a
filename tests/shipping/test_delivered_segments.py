"""What all trackers have of a long journal is packed, and a long run ends as a short one does."""

from __future__ import annotations

import errno
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lrtrack.journal import history_table, packing, segments
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader
from lrtrack.journal.segments import Segment, segments_of
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Rewind, Run, State, Target
from lrtrack.shipping import delivered_segments, run_records
from lrtrack.shipping.cursor import Cursor
from lrtrack.shipping.delivered_segments import PAUSE, DeliveredSegments
from lrtrack.shipping.run_records import records_of

RUN = Run("b" * 32, "long", targets=(Target("one"), Target("two"), Target("l", delivers=False)))


class Killed(BaseException):
    """The shipper dies at this point."""


@pytest.fixture
def layout(tmp_path: Path, monkeypatch) -> Layout:
    """A journal directory in which segments are tiny."""
    monkeypatch.setattr(segments, "LIMIT", 3000)
    layout = Layout(tmp_path / ".lrtrack")
    layout.create()
    return layout


def record(layout: Layout, run: Run = RUN, steps: int = 30) -> list[Segment]:
    """Writes a journal, and returns its segments."""
    journal = JournalWriter(layout.journal(run.id), run)
    for step in range(steps):
        journal.append(step, 100.0 + step, {"loss": 1 / (step + 1)})
        journal.flush()
    journal.close(State.FINISHED)
    return segments_of(layout.journal(run.id))


def packed(layout: Layout) -> list[bool]:
    """Returns which segments are packed."""
    return [segment.is_packed for segment in segments_of(layout.journal(RUN.id))]


def delivered(layout: Layout, tracker: str, offset: int) -> None:
    """Stores how far the run is delivered to a tracker."""
    Cursor(offset=offset).save(layout.cursor(RUN.id, tracker))


def test_what_every_tracker_has_is_packed(layout: Layout) -> None:
    """A full segment is packed once the last of its trackers has all of it; others stay."""
    chain = record(layout)
    delivered(layout, "one", chain[-1].end)
    delivered(layout, "two", chain[2].end - 1)
    DeliveredSegments(layout, RUN).pack(chain[-1].end)

    assert [False, True, *[False] * (len(chain) - 2)] == packed(layout)

    delivered(layout, "two", chain[-1].end)
    DeliveredSegments(layout, RUN).pack(chain[-1].end)

    assert [False, *[True] * (len(chain) - 2), False] == packed(layout)


@pytest.mark.parametrize("point", ["pack", "fsync", "rename", "_settle", "unlink"])
def test_a_kill_at_any_point_of_packing_loses_nothing(layout: Layout, point: str) -> None:
    """Wherever a shipper dies while it packs, the next one goes on, and leaves nothing behind."""
    chain = record(layout)
    path = layout.journal(RUN.id)
    for tracker in ("one", "two"):
        delivered(layout, tracker, chain[-1].end)
    before = [(e.start, e.end, e.event, e.rows) for e in JournalReader(path).entries()]

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        if point == "pack":
            patch.setattr(delivered_segments, "pack", die)
        elif point in ("rename", "unlink"):
            patch.setattr(Path, point, die)
        else:
            patch.setattr(packing if point == "_settle" else packing.os, point, die)
        patch.setattr(DeliveredSegments, "_remove_leftovers", lambda self: None)
        one = DeliveredSegments(layout, RUN)
        with pytest.raises(Killed):
            one.pack(chain[-1].end)
    between = [(e.start, e.end, e.event, e.rows) for e in JournalReader(path).entries()]
    DeliveredSegments(layout, RUN).pack(chain[-1].end)
    after = [(e.start, e.end, e.event, e.rows) for e in JournalReader(path).entries()]

    assert before == between
    assert before == after
    assert sorted(s.path for s in segments_of(path)[1:]) == sorted(
        segments.folder_of(path).iterdir()
    )
    assert all(packed(layout)[1:-1])


def test_a_full_disk_is_asked_again_later(layout: Layout, monkeypatch) -> None:
    """A disk without room for a packed segment keeps the original, and is tried once a minute."""
    chain = record(layout)
    for tracker in ("one", "two"):
        delivered(layout, tracker, chain[-1].end)
    tried, now = [], 1000.0

    def refuse(segment: Segment, journal: Path) -> bool:
        tried.append(segment.start)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(delivered_segments.time, "monotonic", lambda: now)
    one = DeliveredSegments(layout, RUN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delivered_segments, "pack", refuse)
        one.pack(chain[-1].end)
        one.pack(chain[-1].end)
    one.pack(chain[-1].end)

    assert [chain[1].start] == tried
    assert not any(packed(layout))

    now += PAUSE
    one.pack(chain[-1].end)

    assert all(packed(layout)[1:-1])


#: What a journal of each kind has.
JOURNALS: dict[str, dict[str, Any]] = {
    "finished": {},
    "killed": {"killed": True},
    "diverged": {"killed": True, "loss": lambda step: math.nan if step > 50 else 1.0},
    "gone back": {"rewind": 20},
    "incomplete groups": {"count": lambda step: 4.0 if step % 10 else 2.0},
    "groups of one": {"count": lambda step: 1.0 if step % 10 else 2.0},
    "all groups of one": {"count": lambda step: 1.0},
    "no groups": {"count": lambda step: 0.0 if step % 10 else 2.0},
    "no loss": {"loss": None},
    "rates of groups": {"killed": True, "further": {"lr/a": 0.5, "lra": 0.1, "a": 0.2}},
}


@pytest.mark.parametrize("kind", JOURNALS)
def test_a_long_run_ends_as_a_short_one(
    layout: Layout, tmp_path: Path, monkeypatch, kind: str
) -> None:
    """In parts, a run has the file, the losses, the diagnoses and the schedule of the whole."""
    monkeypatch.setattr("lrtrack.journal.history_parts.VALUES", 40)
    how = JOURNALS[kind]
    run = replace(RUN, optimizer={"name": "SGD", "lr": 0.1})
    journal = JournalWriter(layout.journal(run.id), run)
    loss, count = how.get("loss", lambda step: 1 / (step + 1)), how.get("count")
    steps = [*range(60), *range(how["rewind"], 60)] if "rewind" in how else [*range(100)]
    for at, step in enumerate(steps):
        if at == 60 and "rewind" in how:
            journal.rewind(Rewind(how["rewind"], 59, 160.0))
        metrics = {"lr": 0.1 * 0.5 ** (step // 30), "grad_norm": 1.0}
        metrics |= {"loss": loss(step)} if loss else {}
        metrics |= {"loss_count": count(step)} if count else {}
        metrics |= how.get("further", {})
        journal.append(step, 100.0 + at, metrics)
        journal.flush()
    (journal.release if how.get("killed") else lambda: journal.close(State.FINISHED))()
    reader = JournalReader(layout.journal(run.id))
    parts = records_of(reader)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "LIMIT", 2**30)
        whole = records_of(reader)
    found = []
    for records in (parts, whole):
        path = tmp_path / f"{type(records).__name__}.parquet"
        assert records.write(path, 7)
        found.append(
            (
                records.completed(run),
                records.last_time(),
                records.shown(run),
                repr(records.losses(path, 7, "")),
                repr(records.losses(None, 7, "")),
                repr(history_table.read_parquet(path, own=True).to_pylist()),
            )
        )

    assert isinstance(parts, run_records._InParts)
    assert isinstance(whole, run_records._Whole)
    assert found[0] == found[1]


def test_leftovers_of_a_killed_process(layout: Layout) -> None:
    """Segments that are packed already are removed, and one that another process removed."""
    chain = record(layout)
    for tracker in ("one", "two"):
        delivered(layout, tracker, chain[-1].end)
    raw = [segments.raw_path(layout.journal(RUN.id), segment.start) for segment in chain[1:3]]
    kept = [path.read_bytes() for path in raw]
    DeliveredSegments(layout, RUN).pack(chain[-1].end)
    raw[1].write_bytes(kept[1])  # the first is gone already
    DeliveredSegments(layout, RUN)

    assert [path.exists() for path in raw] == [False, False]


def test_some_rates_of_a_long_run() -> None:
    """Of the rates, and of nothing else, the extremes stay among evenly spaced records."""
    steps = list(range(2000))
    rates = [1.0] * 2000
    rates[777], rates[1234], rates[3] = 0.25, 4.0, math.nan
    columns = {"step": steps, "time": [float(step) for step in steps], "loss": rates}
    columns |= {"plr": rates, "plr/a": [1.0] * 2000, "plra": rates, "lr": rates}
    found = run_records._some_rates(pa.table(columns), "p")
    assert found is not None
    evenly = np.linspace(0, 1999, 500).astype(int)

    assert found.column_names == ["step", "time", "plr", "plr/a"]
    assert found["step"].to_pylist() == sorted({*evenly.tolist(), 777, 1234})
    assert run_records._some_rates(pa.table(columns), "q") is None
    assert run_records._some_rates(pa.table(columns).slice(0, 0), "p") is None
