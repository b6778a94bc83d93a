"""Reading journals: sample files of each format version, growing files, and damage."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import pyarrow as pa
import pytest

from lrtrack.errors import JournalError
from lrtrack.journal import raw_segment
from lrtrack.journal.events import MAX_EVENT
from lrtrack.journal.framing import PREAMBLE, Kind, encode
from lrtrack.journal.reader import Ending, JournalReader, merge
from lrtrack.journal.signature import sign
from lrtrack.records import Run, State, StepRecord, Target
from lrtrack.schedules import Schedule

SAMPLE = Path(__file__).parent / "data" / "journal-format-1.journal"


def event(name: str, **data: object) -> bytes:
    """Returns an event's frame."""
    return encode(Kind.EVENT, json.dumps({"event": name, "time": 1.0, **data}).encode())


def batch(**columns: list[float | None]) -> pa.RecordBatch:
    """Returns rows with integer steps and float columns."""
    types = {"step": pa.int64()}
    arrays = [pa.array(v, types.get(name, pa.float64())) for name, v in columns.items()]
    return pa.record_batch(arrays, names=list(columns))


def frame(rows: pa.RecordBatch, compression: str | None = None) -> bytes:
    """Returns a frame of rows."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, rows.schema, options=options) as stream:
        stream.write_batch(rows)
    return encode(Kind.ROWS, sink.getvalue().to_pybytes())


def lying(rows: pa.RecordBatch, true: int, told: int) -> bytes:
    """Returns a frame of rows in which every number `true` is replaced by `told`."""
    payload = frame(rows)[13:]
    assert struct.pack("<q", true) in payload
    return encode(Kind.ROWS, payload.replace(struct.pack("<q", true), struct.pack("<q", told)))


def journal(path: Path, *frames: bytes) -> JournalReader:
    """Writes a journal of these frames."""
    path.write_bytes(PREAMBLE + b"".join(frames))
    return JournalReader(path)


def test_the_kept_sample_tells_its_run() -> None:
    """The run of a format 1 journal is readable by every later lrtrack."""
    assert JournalReader(SAMPLE).claimed_run == Run(
        id="00112233445566778899aabbccddeeff",
        name="OneCycleLR-seed7",
        schedule=Schedule("OneCycleLR", {"max_lr": [0.1, 0.2], "total_steps": 100}),
        optimizer={"name": "SGD", "lr": 0.01, "momentum": 0.9},
        experiment="digits",
        group="first",
        seed=7,
        config={"batch": 64, "width": None},
        tags={"who": "Zoë"},
        prefix="",
        device_type="cuda",
        device_name="NVIDIA H200",
        world_size=2,
        version="0.1.0",
        started=1750000000.25,
        host="node-1",
        pid=4242,
        cwd="/home/someone/digits",
        source="train.py",
        targets=(
            Target("mlflow", uri="http://localhost:5000", experiment="digits"),
            Target("local"),
        ),
    )


def test_the_kept_sample_tells_its_steps() -> None:
    """The steps, gaps and ending of a format 1 journal are readable by every later lrtrack."""
    table, ending = JournalReader(SAMPLE).table()
    columns = table.to_pydict()
    losses, norms = columns.pop("loss"), columns.pop("grad_norm")

    assert ending == Ending(State.FINISHED, 1750000009.5)
    assert columns == {
        "step": [0, 1, 2, 4],
        "time": [1.5, 2.5, 3.5, 5.5],
        "lr": [0.1, 0.05, 0.025, 1e-300],
        "val_accuracy": [None, 0.5, None, -0.0],
        "plateau_metric": [None, None, None, 3.0],
    }
    assert losses[0] == 2.0
    assert math.isnan(losses[1])
    assert losses[2:] == [None, None]
    assert norms == [1.0, math.inf, None, None]
    assert table.column_names == [
        "step", "time", "lr", "loss", "grad_norm", "val_accuracy", "plateau_metric",
    ]  # fmt: skip


def test_the_kept_sample_tells_its_entries() -> None:
    """Entries are returned in written order, and records omit the metrics a row lacks."""
    entries = list(JournalReader(SAMPLE).entries())
    events = [entry.event["event"] if entry.event else "rows" for entry in entries]

    assert events == ["run", "rows", "rows", "flush", "rows", "end", "resume", "rows", "end"]
    assert entries[0].records() == []
    assert entries[2].records() == [StepRecord(1, 2.5, {"val_accuracy": 0.5})]
    assert entries[4].records() == [
        StepRecord(2, 3.5, {"lr": 0.025}),
        StepRecord(4, 5.5, {"lr": 0.0125, "val_accuracy": -0.0}),
    ]


def test_reading_goes_on_at_the_end_of_any_entry() -> None:
    """Reading from the end of any entry returns exactly the entries after it."""
    reader = JournalReader(SAMPLE)
    spans = [(entry.start, entry.end) for entry in reader.entries()]

    assert spans[0][0] == len(PREAMBLE)
    for at, (_, end) in enumerate(spans):
        assert [(e.start, e.end) for e in reader.entries(end)] == spans[at + 1 :]


def test_a_cut_sample_gives_what_lies_before_the_cut(path: Path) -> None:
    """A journal cut after any byte returns exactly its complete entries."""
    data = SAMPLE.read_bytes()
    ends = [entry.end for entry in JournalReader(SAMPLE).entries()]
    for cut in range(len(PREAMBLE), len(data), 7):
        path.write_bytes(data[:cut])

        assert [e.end for e in JournalReader(path).entries()] == [e for e in ends if e <= cut]


@pytest.mark.parametrize("chunk", [64, 301, 1000, 4096])
def test_entries_do_not_depend_on_how_much_is_read_at_once(monkeypatch, chunk: int) -> None:
    """Entries are the same whatever the chunk size, even for frames larger than a chunk."""

    def entries() -> list[tuple[object, ...]]:
        # Compared as text because NaN is not equal to itself.
        found = JournalReader(SAMPLE).entries()
        return [(e.start, e.end, e.event, repr(e.records())) for e in found]

    expected = entries()
    monkeypatch.setattr(raw_segment, "CHUNK", chunk)

    assert len(expected) == 9
    assert entries() == expected


def test_a_frame_larger_than_a_chunk_is_read(path: Path, run: Run) -> None:
    """A frame larger than a chunk, with thousands of metrics and rows, is read completely."""
    large = event("note", text="x" * (raw_segment.CHUNK + 1))
    reader = journal(
        path, event("run", run=run.to_dict()), large, frame(batch(step=[0], time=[1.0], lr=[0.5]))
    )

    assert [e.end - e.start for e in reader.entries()][1] == len(large)
    assert reader.table()[0].to_pylist() == [{"step": 0, "time": 1.0, "lr": 0.5}]


def test_much_rubbish_is_stepped_over(path: Path, run: Run, monkeypatch) -> None:
    """Garbage larger than a chunk does not hide the entries after it."""
    monkeypatch.setattr(raw_segment, "CHUNK", 1024)
    monkeypatch.setattr(raw_segment, "LARGEST", 4096)
    rubbish = bytes(50_000)
    reader = journal(path, event("run", run=run.to_dict()), rubbish, event("end", state="FINISHED"))

    assert reader.claimed_run == run
    assert reader.table()[1] == Ending(State.FINISHED, 1.0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"lrtrack journal 2\n", "written by a later lrtrack: upgrade"),
        (b"lrtrack journal 12\nmore", "written by a later lrtrack: upgrade"),
        (b"", "it is not a journal"),
        (b"PAR1 something else, long enough", "it is not a journal"),
        (PREAMBLE[:-1], "it is not a journal"),
    ],
    ids=["format 2", "format 12", "empty", "other file", "torn preamble"],
)
def test_what_is_no_journal_is_told(path: Path, content: bytes, words: str) -> None:
    """A journal of a later format asks for an upgrade, and any other file is named in the error."""
    path.write_bytes(content)
    with pytest.raises(JournalError, match=f"{path}: .*({words})"):
        JournalReader(path)


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    """A missing file and a folder raise a journal error instead of an OSError."""
    with pytest.raises(JournalError, match="nowhere"):
        JournalReader(tmp_path / "nowhere.journal")
    with pytest.raises(JournalError, match="cannot read"):
        JournalReader(tmp_path)


@pytest.mark.parametrize(
    "data",
    [{}, {"run": []}, {"run": {"id": "x"}}, {"run": {"id": "x", "name": "y", "schedule": "z"}},
     {"run": {"id": "x", "name": "y", "schedule": {"name": "z"}, "targets": [1]}}],
    ids=["nothing", "a list", "no schedule", "a schedule of text", "a target of numbers"],
)  # fmt: skip
def test_a_run_that_makes_no_sense_is_told(path: Path, data: dict[str, object]) -> None:
    """An intact frame with an invalid run raises a journal error that names the file."""
    with pytest.raises(JournalError, match=str(path)):
        _ = journal(path, event("run", **data)).run


def test_a_journal_without_its_run_is_told(path: Path) -> None:
    """A journal with rows but without a run raises a journal error."""
    with pytest.raises(JournalError, match="says nothing about its run"):
        _ = journal(path, frame(batch(step=[0], time=[1.0]))).run


def test_a_lost_first_event_is_made_good_by_a_later_one(path: Path, run: Run) -> None:
    """A run event written on resume replaces a lost first event."""
    identity = run.to_dict()
    damaged = bytearray(event("run", run=identity))
    damaged[30] ^= 1
    resumed = event("resume", run=identity, signature=sign(identity))

    assert journal(path, bytes(damaged), resumed).run == run


@pytest.mark.parametrize(
    "bad",
    [
        encode(Kind.EVENT, b"no JSON"),
        encode(Kind.EVENT, b"[1]"),
        encode(Kind.EVENT, b'{"event": 3}'),
        encode(Kind.EVENT, b"\xff"),
        encode(Kind.ROWS, b"no Arrow"),
        encode(Kind.ROWS, b""),
        frame(batch(step=[0])),
        frame(batch(time=[0.0], lr=[0.0])),
        frame(batch(step=[None], time=[0.0])),
        frame(batch(step=[1], time=[None])),
        frame(pa.record_batch([[1], ["x"]], names=["step", "time"])),
        frame(pa.record_batch([[1], [1.0], [1.0], [2.0]], names=["step", "time", "a", "a"])),
        frame(batch(step=[], time=[], lr=[])),
        frame(batch(step=[-1], time=[1.0])),
        frame(batch(step=[1], time=[math.nan])),
        frame(batch(step=[1], time=[math.inf])),
        frame(batch(step=[0] * 10**6, time=[1.0] * 10**6), compression="zstd"),
        frame(batch(step=[0] * 10**6, time=[1.0] * 10**6), compression="lz4"),
        lying(batch(step=[1, 2, 3], time=[1.0] * 3, lr=[0.5, None, 0.5]), 3, 10**6),
        lying(batch(step=[1, 2, 3], time=[1.0] * 3, lr=[0.5, None, 0.5]), 3, 2**60),
        lying(batch(step=[1, 2, 3], time=[1.0] * 3, lr=[0.5, None, 0.5]), 3, -3),
        lying(batch(step=[1, 2, 3], time=[1.0] * 3, lr=[0.5, None, 0.5]), 64, 2**40),
        encode(Kind.EVENT, b'{"event": "run", "run": ' + b"[" * 200 + b"]" * 200 + b"}"),
        encode(Kind.EVENT, b'{"event": ' + b"[" * 200_000),
        encode(Kind.EVENT, json.dumps({"event": "x" * MAX_EVENT}).encode()),
    ],
    ids=range(25),
)
def test_sound_frames_with_nonsense_are_passed_over(path: Path, bad: bytes) -> None:
    """Intact frames with invalid content are skipped and counted as damage."""
    reader = journal(path, bad, frame(batch(step=[7], time=[1.0], lr=[0.5])))

    assert reader.table()[0].to_pylist() == [{"step": 7, "time": 1.0, "lr": 0.5}]
    assert (reader.damage.places, reader.damage.size) == (1, len(bad))


def test_damage_is_counted_once(path: Path, run: Run) -> None:
    """A damaged place is counted once, however often and from wherever it is read."""
    first, last = event("run", run=run.to_dict()), event("end", state="FINISHED")
    rows = [frame(batch(step=[step], time=[1.0], lr=[0.5])) for step in range(4)]
    hurt = bytearray(rows[1])
    hurt[50] ^= 4
    reader = journal(path, first, rows[0], bytes(hurt), rows[2], b"rubbish", rows[3], last)
    starts = [entry.start for entry in reader.entries()]
    for start in starts:
        list(reader.entries(start))

    assert str(reader.damage) == f"damaged in 2 places ({len(hurt) + 7} bytes)"
    assert reader.table()[0]["step"].to_pylist() == [0, 2, 3]


def test_a_torn_tail_is_no_damage(path: Path, run: Run) -> None:
    """A torn tail is not damage, whether it may still grow or a later process appended to it."""
    first, rows = event("run", run=run.to_dict()), frame(batch(step=[0], time=[1.0]))
    for cut in range(1, len(rows)):
        torn = rows[:cut]
        assert not journal(path, first, torn).inspect()
        resumed = journal(path, first, torn, event("resume", run=run.to_dict()), rows)
        assert not resumed.inspect()
        assert resumed.table()[0].num_rows == 1
        assert journal(path, first, torn, rows).inspect().size == cut


def test_a_tail_that_grows_is_damage_no_more(path: Path, run: Run) -> None:
    """A tail that grows into a complete frame is no longer damage, while real damage remains."""
    first, rows = event("run", run=run.to_dict()), frame(batch(step=[0], time=[1.0]))
    reader = journal(path, first, rows[:20] + bytes(len(rows) - 20))
    assert reader.inspect().size == len(rows)
    path.write_bytes(PREAMBLE + first + rows)

    assert not reader.inspect()


def test_where_a_reader_may_have_stopped(path: Path, run: Run) -> None:
    """A valid cursor is between frames, at the end, or after some rows of a frame."""
    first, rows = event("run", run=run.to_dict()), frame(batch(step=[0, 1], time=[1.0, 2.0]))
    reader = journal(path, first, rows)
    middle = len(PREAMBLE) + len(first)

    assert [reader.stands(at, 0) for at in (0, middle, reader.size())] == [True] * 3
    assert [reader.stands(middle, skip) for skip in (1, 2, 99)] == [True, False, False]
    assert [reader.stands(at, 0) for at in (1, middle + 1, 10**9)] == [False] * 3
    assert [reader.stands(at, 1) for at in (0, len(PREAMBLE), reader.size())] == [False] * 3


@pytest.mark.parametrize(
    ("events", "ending"),
    [
        ([], None),
        ([event("end", state="FINISHED")], Ending(State.FINISHED, 1.0)),
        ([event("end", state="FINISHED"), event("resume")], None),
        ([event("end", state="FINISHED"), event("flush")], Ending(State.FINISHED, 1.0)),
        ([event("end", state="sideways")], Ending(State.FAILED, 0.0)),
        ([event("end")], Ending(State.FAILED, 0.0)),
    ],
)
def test_the_ending_is_the_last_word(path: Path, events: list[bytes], ending) -> None:
    """A resumed run has not ended, and an invalid ending counts as a failure."""
    assert journal(path, *events).table()[1] == ending


def test_no_rows_are_an_empty_table(path: Path) -> None:
    """A run killed before its first step has an empty table."""
    table, _ = journal(path).table()

    assert table.schema == pa.schema([("step", pa.int64()), ("time", pa.float64())])
    assert table.num_rows == 0


def test_merge_orders_steps_and_keeps_the_last_value() -> None:
    """Merging combines the rows of a step and keeps the last value of each metric."""
    merged = merge(
        [
            batch(step=[3, 1], time=[3.0, 1.0], a=[30.0, 10.0]),
            batch(step=[3], time=[9.0], b=[31.0]),
            batch(step=[1, 3, 2], time=[9.0, 9.0, 2.0], a=[None, math.inf, 20.0]),
        ]
    )

    assert merged.to_pydict() == {
        "step": [1, 2, 3],
        "time": [1.0, 2.0, 3.0],
        "a": [10.0, 20.0, math.inf],
        "b": [None, None, 31.0],
    }


def test_size_is_that_of_the_file() -> None:
    """`size` is the size of the file, which cursors are compared with."""
    assert JournalReader(SAMPLE).size() == len(SAMPLE.read_bytes())
