"""A journal in several files is one journal: for its writer, its readers and its cursors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lrtrack.journal import history_parts, segments
from lrtrack.journal.events import event_frame
from lrtrack.journal.framing import PREAMBLE
from lrtrack.journal.history_parts import HistoryParts
from lrtrack.journal.packing import pack
from lrtrack.journal.reader import JournalReader
from lrtrack.journal.segments import folder_of, packed_path, segments_of
from lrtrack.journal.step_rows import columns_of, encode_rows
from lrtrack.journal.writer import JournalWriter

Writer = Callable[..., JournalWriter]


@pytest.fixture(autouse=True)
def tiny(monkeypatch) -> None:
    """Segments of a few frames each."""
    monkeypatch.setattr(segments, "LIMIT", 3000)


def write(journal: JournalWriter, steps: range, **metrics: float) -> None:
    """Writes each step as a frame of its own."""
    for step in steps:
        journal.append(step, 100.0 + step, {"loss": step / 8, **metrics})
        journal.flush()


def contents(path: Path) -> list[tuple[object, ...]]:
    """Returns what a reader finds, as values that can be compared."""
    return [(e.start, e.end, e.event, e.rows) for e in JournalReader(path).entries()]


def pack_full(path: Path) -> list[bool]:
    """Packs all full segments but the first; returns which could be packed."""
    return [pack(segment, path) for segment in segments_of(path)[1:-1]]


def test_a_short_run_has_one_file(writer: Writer, path: Path) -> None:
    """A journal below the limit is one file, and nothing else is beside it."""
    write(writer(), range(1))

    assert [path] == list(path.parent.glob(f"{path.stem}*"))


def test_a_long_run_has_files_of_a_bounded_size(writer: Writer, path: Path) -> None:
    """No file grows past the limit, and the files follow each other without a gap."""
    write(writer(), range(30))
    chain = segments_of(path)

    assert len(chain) > 3
    assert all(segment.path.stat().st_size <= segments.LIMIT for segment in chain)
    assert [segment.end for segment in chain[:-1]] == [segment.start for segment in chain[1:]]
    assert list(range(30)) == JournalReader(path).course().table["step"].to_pylist()


def test_packed_segments_say_the_same(writer: Writer, path: Path) -> None:
    """Where segments are packed, entries have the same contents at the same offsets."""
    journal = writer()
    write(journal, range(12))
    journal.event("note", text="ä", numbers=[1, 2.5, None])
    write(journal, range(12, 24), lr=0.1)
    write(journal, range(24, 30), norm=float("nan"))
    before = contents(path)
    assert all(pack_full(path))

    assert repr(before) == repr(contents(path))
    assert [False, *[True] * (len(segments_of(path)) - 2), False] == [
        segment.is_packed for segment in segments_of(path)
    ]
    for at, (start, end, _, rows) in enumerate(before):
        reader = JournalReader(path)
        assert reader.stands(start, 0)
        assert reader.stands(end, 0)
        assert rows is None or not reader.stands(start, len(rows))
        assert [entry.start for entry in reader.entries(start)] == [b[0] for b in before[at:]]


def test_a_run_is_continued_in_its_last_segment(writer: Writer, path: Path) -> None:
    """A later process writes on where the first one was killed, packed segments or not."""
    first = writer()
    write(first, range(20))
    first.release()
    pack_full(path)
    write(writer(), range(20, 40))

    assert list(range(40)) == JournalReader(path).course().table["step"].to_pylist()
    assert not JournalReader(path).inspect()


def test_a_run_is_continued_behind_packed_segments_alone(writer: Writer, path: Path) -> None:
    """Where the last segment is lost, a later process begins one, and what is there is read."""
    first = writer()
    write(first, range(20))
    first.release()
    pack_full(path)
    segments_of(path)[-1].path.unlink()
    write(writer(), range(20, 30))
    steps = JournalReader(path).course().table["step"].to_pylist()

    assert steps[-10:] == list(range(20, 30))
    assert steps == sorted(set(steps))


def test_a_deleted_journal_is_put_back_with_all_segments(writer: Writer, path: Path) -> None:
    """If the journal is deleted while its run is running, its writer restores every segment."""
    journal = writer()
    write(journal, range(20))
    before = [(s.path, s.start, s.end) for s in segments_of(path)]
    for file in [*folder_of(path).iterdir(), path]:
        file.unlink()
    folder_of(path).rmdir()
    journal._ask(journal._upkeep)

    assert before == [(s.path, s.start, s.end) for s in segments_of(path)]
    assert list(range(20)) == JournalReader(path).course().table["step"].to_pylist()


def test_packed_segments_are_not_put_back(writer: Writer, path: Path) -> None:
    """The writer forgets a segment that was packed, and does not take it for a deleted one."""
    journal = writer()
    write(journal, range(20))
    pack_full(path)
    before = sorted(folder_of(path).iterdir())
    journal._ask(journal._upkeep)

    assert before == sorted(folder_of(path).iterdir())


def test_a_segment_that_is_missing_is_reported(writer: Writer, path: Path) -> None:
    """A lost segment is damage of its size; the steps before and after it are read."""
    write(writer(), range(30))
    chain = segments_of(path)
    chain[2].path.unlink()
    reader = JournalReader(path)
    steps = reader.course().table["step"].to_pylist()

    assert reader.damage.places == 1
    assert chain[2].end - chain[2].start == reader.damage.size
    assert (steps[0], steps[-1]) == (0, 29)


def test_a_damaged_segment_is_not_packed(writer: Writer, path: Path) -> None:
    """A segment with a flipped bit stays as it is, so that its damage is still reported."""
    write(writer(), range(30))
    segment = segments_of(path)[1]
    data = bytearray(segment.path.read_bytes())
    data[-20] ^= 1
    segment.path.write_bytes(data)

    assert pack_full(path)[:2] == [False, True]
    assert segment.path.exists()


def test_a_segment_of_ever_new_names_is_not_packed(writer: Writer, path: Path, monkeypatch) -> None:
    """Steps that have no metric in common would take more room in columns, and stay as they are."""
    monkeypatch.setattr(segments, "LIMIT", 20_000)
    journal = writer()
    for step in range(40):
        journal.append(step, 1.0, {f"{step}/{at}": 0.0 for at in range(8)})
        journal.flush()

    assert not any(pack_full(path))


@pytest.mark.parametrize("where", [0.3, 0.6, 0.95])
def test_a_flipped_bit_in_a_packed_segment_is_damage(
    writer: Writer, path: Path, where: float
) -> None:
    """A flipped bit costs the rows that it may have changed, is reported, and nothing else."""
    write(writer(), range(30))
    pack_full(path)
    segment = segments_of(path)[1]
    data = bytearray(segment.path.read_bytes())
    data[int(len(data) * where)] ^= 16
    segment.path.write_bytes(data)
    reader = JournalReader(path)
    steps = reader.course().table["step"].to_pylist()

    assert set(steps) <= set(range(30))
    assert len(steps) == 30 or reader.damage
    assert steps[-1] == 29


@pytest.mark.parametrize("kind", ["text", "other run", "other place", "link"])
def test_a_foreign_file_in_the_place_of_a_segment_is_damage(
    writer: Writer, path: Path, tmp_path: Path, kind: str
) -> None:
    """A file that is not the segment that its name says is not read."""
    write(writer(), range(30))
    segment = segments_of(path)[1]
    other = segments_of(path)[2]
    if kind == "text":
        segment.path.write_bytes(b"x" * 500)
    elif kind == "other run":
        data = segment.path.read_bytes().replace(path.stem.encode(), b"e" * 32)
        segment.path.write_bytes(data)
    elif kind == "other place":
        segment.path.write_bytes(other.path.read_bytes())
    else:
        elsewhere = tmp_path / "elsewhere"
        segment.path.rename(elsewhere)
        segment.path.symlink_to(elsewhere)
    reader = JournalReader(path)
    steps = reader.course().table["step"].to_pylist()

    assert reader.damage
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (0, 29)


def test_a_packed_segment_of_another_place_is_not_read(writer: Writer, path: Path) -> None:
    """A packed segment says which bytes of which journal it has replaced."""
    write(writer(), range(30))
    pack_full(path)
    first, second = segments_of(path)[1:3]
    first.path.unlink()
    second.path.rename(packed_path(path, first.start, first.end))
    reader = JournalReader(path)
    list(reader.entries())

    assert reader.damage.size >= second.end - first.start


def test_a_link_as_the_directory_of_segments_is_not_followed(
    writer: Writer, path: Path, tmp_path: Path
) -> None:
    """Segments are read from the journal's own directory alone."""
    journal = writer()
    write(journal, range(30))
    first = segments_of(path)[0]
    folder_of(path).rename(tmp_path / "elsewhere")
    folder_of(path).symlink_to(tmp_path / "elsewhere")

    assert [first] == segments_of(path)
    folder_of(path).unlink()
    (tmp_path / "elsewhere").rename(folder_of(path))


def test_a_reader_goes_on_while_segments_are_packed(writer: Writer, path: Path) -> None:
    """A reader that has begun before segments were packed finds all entries once."""
    write(writer(), range(30))
    expected = [entry[:2] for entry in contents(path)]
    found = []
    for entry in JournalReader(path).entries():
        if not found:
            pack_full(path)
        found.append((entry.start, entry.end))

    assert expected == found


#: An operation on a journal: rows of these steps, or a return to a step.
_ROWS = st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["a", "b", "c"])), min_size=1)
_OPERATIONS = st.lists(st.one_of(_ROWS, st.integers(0, 12)), max_size=12)


@given(operations=_OPERATIONS, values=st.sampled_from([1, 20, 2**20]))
@example(operations=[[(6, "a"), (5, "a")], 6, [(5, "a")]], values=1)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_history_in_parts_is_the_whole_history(
    tmp_path_factory, operations: list[object], values: int
) -> None:
    """Read in parts, a journal has the same rows as read at once, however steps are repeated."""
    path = tmp_path_factory.mktemp("parts") / "history.journal"
    frames, value = [PREAMBLE], 0.0
    for operation in operations:
        if isinstance(operation, int):
            frames.append(event_frame("rewind", {"step": operation, "last": 12, "time": 1.0}))
            continue
        rows = [(step, value + at, {name: value + at}) for at, (step, name) in enumerate(operation)]
        value += len(rows)
        frames.append(encode_rows(*columns_of(rows, None)))
    path.write_bytes(b"".join(frames))
    whole = JournalReader(path).course()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history_parts, "VALUES", values)
        parts = HistoryParts(JournalReader(path))
        tables = list(parts)
    table = pa.concat_tables(tables) if tables else whole.table.slice(0, 0)

    wanted = [
        name for name in whole.table.column_names if whole.table[name].null_count < len(whole.table)
    ]
    assert whole.table.select(wanted or ["step", "time"]).to_pylist() == table.to_pylist()
    assert (whole.ending, whole.rewinds, whole.breaks) == (
        parts.course.ending, parts.course.rewinds, parts.course.breaks,
    )  # fmt: skip
