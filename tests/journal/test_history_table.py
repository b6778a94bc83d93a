"""`history.parquet`: written tables are read back, and invalid files are rejected."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrtrack.journal import history_table, parquet_guard

CELL = st.none() | st.floats(allow_nan=True, allow_infinity=True)
NAME = st.text(min_size=1, max_size=8).filter(lambda n: n not in ("step", "time"))


def table(steps: list[int], **metrics: list[float | None]) -> pa.Table:
    """Returns a history table with one second per step."""
    return pa.table(
        {
            "step": pa.array(steps, pa.int64()),
            "time": pa.array([float(step) for step in steps], pa.float64()),
            **{name: pa.array(values, pa.float64()) for name, values in metrics.items()},
        }
    )


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_round_trip(tmp_path: Path, data):
    """Every value, NaN, infinity and gap is read back, whatever the metric is called."""
    size = data.draw(st.integers(0, 6))
    names = data.draw(st.lists(NAME, max_size=3, unique=True))
    cells = {name: data.draw(st.lists(CELL, min_size=size, max_size=size)) for name in names}
    history_table.write_parquet(table(list(range(size)), **cells), tmp_path / "h.parquet")
    found = history_table.arrays(history_table.read_parquet(tmp_path / "h.parquet"))

    assert found["steps"].tolist() == list(range(size))
    for name, values in cells.items():
        assert found["present"][name].tolist() == [value is not None for value in values]
        for ours, theirs in zip(values, found["metrics"][name].tolist(), strict=True):
            same = math.isnan(theirs) if ours is None or math.isnan(ours) else theirs == ours
            assert same


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (pa.table({"a": [1]}), "expected int64 'step'"),
        (pa.table({"step": [1], "time": [1.0], "loss": ["x"]}), "expected int64 'step'"),
        (pa.table({"step": [1.5], "time": [1.0]}), "expected int64 'step'"),
        (pa.table({"step": pa.array([1, None]), "time": [1.0, 2.0]}), "without a number"),
        (table([1, 1]), "do not ascend"),
        (table([2, 1]), "do not ascend"),
        (pa.table({"time": [1.0], "step": [1]}), "expected int64 'step'"),
        (pa.table({"step": [1], "time": pa.array([1.0], pa.float32())}), "expected int64 'step'"),
        (pa.table({"step": [1], "time": pa.array([None], pa.float64())}), "without a number"),
        (
            pa.Table.from_arrays(
                [pa.array([1]), *[pa.array([1.0])] * 3], ["step", "time", "loss", "loss"]
            ),
            "repeated columns",
        ),
        (pa.table({}), "expected int64 'step'"),
    ],
)
def test_foreign_files_are_refused(tmp_path: Path, content: pa.Table, why: str):
    """A Parquet file that is not a step history is rejected."""
    pq.write_table(content, tmp_path / "h.parquet")

    with pytest.raises(ValueError, match=why):
        history_table.read_parquet(tmp_path / "h.parquet")


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_torn_files_are_refused(tmp_path: Path, kept: int):
    """A truncated file is rejected."""
    path = tmp_path / "h.parquet"
    history_table.write_parquet(table(list(range(99)), loss=[0.5] * 99), path)
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(ValueError, match="not a readable Parquet file"):
        history_table.read_parquet(path)


def test_a_folder_is_refused(tmp_path: Path):
    """A folder and a missing file raise the same error as an invalid file."""
    for path in (tmp_path, tmp_path / "missing.parquet"):
        with pytest.raises(ValueError, match="not a readable Parquet file"):
            history_table.read_parquet(path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_files_are_refused_or_whole(tmp_path: Path, places):
    """A corrupted file either raises the documented error or is read as a step history."""
    path = tmp_path / "h.parquet"
    history_table.write_parquet(table(list(range(9)), loss=[0.5] * 9), path)
    content = bytearray(path.read_bytes())
    for place, value in places:
        content[int(place * (len(content) - 1))] = value
    path.write_bytes(content)

    try:
        found = history_table.read_parquet(path)
    except ValueError:
        return
    assert found.column_names[:2] == ["step", "time"]
    assert np.all(np.diff(found["step"].to_numpy()) > 0)


def test_negative_zero_and_the_smallest_number(tmp_path: Path):
    """Negative zero and the smallest float are read back bit for bit."""
    values = [-0.0, 5e-324, 1 / 3, 1.7976931348623157e308]
    history_table.write_parquet(table([0, 1, 2, 3], loss=values), tmp_path / "h.parquet")
    found = history_table.arrays(history_table.read_parquet(tmp_path / "h.parquet"))

    assert found["metrics"]["loss"].tobytes() == np.array(values).tobytes()


def test_files_of_earlier_releases_are_read(tmp_path: Path):
    """A file whose values are in dictionaries holds the same table as one that is written now."""
    values = [0.1, None, math.inf, 0.1, -0.0] * 40
    whole = table(list(range(0, 400, 2)), loss=values, lr=[0.25] * 200)
    pq.write_table(whole, tmp_path / "old.parquet", compression="zstd", write_page_checksum=True)
    history_table.write_parquet(whole, tmp_path / "new.parquet")
    old, new = (history_table.read_parquet(tmp_path / f"{n}.parquet") for n in ("old", "new"))

    assert whole.equals(old)
    assert whole.equals(new)


def test_values_are_stored_side_by_side(tmp_path: Path):
    """Steps are stored as differences and floats byte by byte, without dictionaries."""
    path = tmp_path / "h.parquet"
    history_table.write_parquet(table(list(range(50)), loss=[0.5] * 50), path)
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]

    assert [column.has_dictionary_page for column in columns] == [False] * 3
    assert [next(kind for kind in column.encodings if kind != "RLE") for column in columns] == [
        "DELTA_BINARY_PACKED",
        "BYTE_STREAM_SPLIT",
        "BYTE_STREAM_SPLIT",
    ]


def test_types_of_the_arrays():
    """Steps are int64, values float64, and presence bool."""
    found = history_table.arrays(table([0, 1], loss=[0.5, None]))

    assert found["steps"].dtype == np.int64
    assert found["metrics"]["loss"].dtype == np.float64
    assert found["present"]["loss"].dtype == np.bool_


def test_more_than_a_history_may_take(tmp_path: Path, monkeypatch):
    """A file that expands beyond the limit is rejected unread, unless this machine wrote it."""
    path = tmp_path / "h.parquet"
    history_table.write_parquet(table(list(range(5000)), loss=[0.5] * 5000), path)
    monkeypatch.setattr(parquet_guard, "MAX_VALUES", 14_999)
    with pytest.raises(ValueError, match="bytes expand to 15,000 values"):
        history_table.read_parquet(path)
    assert history_table.read_parquet(path, own=True).num_rows == 5000
    monkeypatch.setattr(parquet_guard, "MAX_VALUES", 15_000)
    assert history_table.read_parquet(path).num_rows == 5000
    monkeypatch.setattr(parquet_guard, "FREE", 1000)
    monkeypatch.setattr(parquet_guard, "RATIO", 0)
    with pytest.raises(ValueError, match="bytes expand to 15,000 values"):
        history_table.read_parquet(path)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_a_page_that_is_too_large(tmp_path: Path, monkeypatch, version: str, dictionary: bool):
    """An oversized page is found by its own header even if the footer understates it."""
    path = tmp_path / "h.parquet"
    found = table(list(range(5000)), loss=np.random.default_rng(0).random(5000).tolist())
    pq.write_table(found, path, use_dictionary=dictionary, data_page_version=version)
    monkeypatch.setattr(parquet_guard, "MAX_PAGE", 50_000)
    assert history_table.read_parquet(path).num_rows == 5000
    monkeypatch.setattr(parquet_guard, "MAX_PAGE", 30_000)
    with pytest.raises(ValueError, match=r"a page expands to [34]\d,\d{3} bytes"):
        history_table.read_parquet(path)


@pytest.mark.parametrize("steps", [[-1, 0], [0, 0], [1, 0]])
def test_steps_that_are_none(tmp_path: Path, steps: list[int]):
    """Steps must be non-negative and ascending."""
    history_table.write_parquet(table(steps, loss=[1.0, 2.0]), tmp_path / "h.parquet")
    with pytest.raises(ValueError, match="steps do not ascend from 0"):
        history_table.read_parquet(tmp_path / "h.parquet")


def test_a_flipped_bit_in_the_steps_is_noticed(tmp_path: Path):
    """No flipped bit in a column gives other numbers: the file is refused."""
    path = tmp_path / "h.parquet"
    whole = table(list(range(200)), loss=[1 / (step + 1) for step in range(200)])
    history_table.write_parquet(whole, path)
    content = path.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little") + 8
    other = 0
    for bit in range(8 * 4, 8 * (len(content) - footer), 97):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            other += not history_table.read_parquet(path).equals(whole)
        except ValueError:
            continue

    assert other == 0


def test_the_extent_of_a_long_file(tmp_path: Path):
    """Rows and last step of a file are known from its end, whatever is damaged before."""
    path = tmp_path / "history.parquet"
    whole = table([0, 1, 4, 6, 9])
    with pq.ParquetWriter(path, whole.schema, compression="none") as writer:
        writer.write_table(whole.slice(0, 3))
        writer.write_table(whole.slice(3))
    stored = bytearray(path.read_bytes())
    stored[4:40] = bytes(36)  # of the first row group
    path.write_bytes(stored)

    assert history_table.extent_of(path) == (5, 9)
    with pytest.raises(ValueError, match="a page header without sizes"):
        history_table.read_parquet(path)
