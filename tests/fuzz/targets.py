"""Fuzz targets: each function takes any bytes and fails if they are read incorrectly."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from lrtrack.errors import JournalError, UsageError
from lrtrack.journal import history_table
from lrtrack.journal.framing import PREAMBLE, Kind, encode
from lrtrack.journal.reader import JournalReader
from lrtrack.schedules import Schedule
from lrtrack.schedules.spec import parse, write

SAMPLE = Path(__file__).parents[1] / "journal" / "data" / "journal-format-1.journal"
_FOLDER = tempfile.TemporaryDirectory(prefix="lrtrack-fuzz-")


def journal(data: bytes) -> None:
    """A journal's bytes behind its first line; or, past the checksum, one frame's content.

    The first byte says which: rows, an event, or anything.
    """
    kind = {1: Kind.ROWS, 2: Kind.EVENT}.get(data[0] if data else 0)
    body = data[1:] if kind is None else encode(kind, data[1:])
    path = Path(_FOLDER.name) / "fuzzed.journal"
    path.write_bytes(PREAMBLE + body)
    reader = JournalReader(path)
    with suppress(JournalError):
        assert reader.claimed_run.to_dict()["id"] == reader.claimed_run.id
    places = [(entry.start, entry.end, len(entry.records())) for entry in reader.entries()]
    table, _ = reader.table()
    steps = table["step"].to_pylist()
    assert steps == sorted(set(steps))
    assert len(steps) <= sum(count for *_, count in places)
    assert all(reader.stands(start, max(0, count - 1)) for start, _, count in places)
    covered = sum(end - start for start, end, _ in places) + reader.damage.size
    assert len(PREAMBLE) + covered <= reader.size()


def spec(data: bytes) -> None:
    """A schedule as people write it, and as lrtrack does."""
    text = data.decode("utf-8", "replace")
    with suppress(UsageError):
        stages = parse(text)
        again = parse(write(stages))
        assert write(again) == write(stages)
    with suppress(ValueError):
        schedule = Schedule.from_spec(text)
        assert Schedule.from_spec(schedule.spec) == schedule
        assert isinstance(schedule.label, str)
        assert len(schedule.id) == 8
        assert schedule.flat()["name"] == schedule.name


def parquet(data: bytes) -> None:
    """A columnar file as a tracker hands it back."""
    path = Path(_FOLDER.name) / history_table.NAME
    path.write_bytes(data)
    with suppress(ValueError):
        found = history_table.arrays(history_table.read_parquet(path))
        assert (found["steps"] >= 0).all()


def seeds() -> Iterator[tuple[str, bytes]]:
    """Valid inputs to start from: the target's name and the bytes."""
    sample = SAMPLE.read_bytes()[len(PREAMBLE) :]
    yield "journal", b"\x00" + sample
    for entry in JournalReader(SAMPLE).entries():
        payload = SAMPLE.read_bytes()[entry.start + 13 : entry.end]
        yield "journal", (b"\x02" if entry.rows is None else b"\x01") + payload
    for text in (
        "warmup(steps=100) -> cosine(steps=900, min_lr=1e-5)",
        "step(step_size={10, 30}, gamma=0.01..0.5 log)",
        "multistep(milestones=[30, 60], gamma=-.5e+2) -> constant",
        "onecycle(max_lr=[0.1, 'a'], anneal=\"linear\", three_phase=true, x=none, y=inf)",
        json.dumps({"name": "SequentialLR", "schedulers": [{"name": "StepLR", "step_size": 3}]}),
    ):
        yield "spec", text.encode()
    path = Path(_FOLDER.name) / "seed.parquet"
    for rows in (0, 3, 2000):
        table = {
            "step": pa.array(range(rows), pa.int64()),
            "time": pa.array([float(row) for row in range(rows)], pa.float64()),
            "loss": pa.array([None if row % 3 else 0.5 for row in range(rows)], pa.float64()),
        }
        history_table.write_parquet(pa.table(table), path)
        yield "parquet", path.read_bytes()


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "journal": journal,
    "spec": spec,
    "parquet": parquet,
}
