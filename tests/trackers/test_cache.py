"""Copies of finished runs: their content, damaged copies, and the limit on their size."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lrtrack.journal import history_table
from lrtrack.records import History, Run, State, one_by_one
from lrtrack.trackers import cache

TABLE = pa.table(
    {
        "step": pa.array([0, 2, 5], pa.int64()),
        "time": [10.0, 11.0, 12.5],
        "loss": [1.0, math.nan, math.inf],
        "val/loss": pa.array([None, 0.5, None], pa.float64()),
        "present:loss": [7.0, 8.0, 9.0],
    }
)


@pytest.fixture
def copy() -> Path:
    """The path of a copy of `TABLE`."""
    path = cache.place_of("mlflow", "somewhere", "run")
    cache.keep(TABLE, path)
    return path


def history_of(path: Path) -> History:
    """Read the history in a copy."""
    arrays = cache.kept(path)
    assert arrays is not None
    return History(Run("id", "name"), State.FINISHED, "mlflow", **arrays)


def test_a_copy_holds_the_whole_table(copy):
    """A copy keeps values, missing values, NaN and infinities, whatever a metric is called."""
    history = history_of(copy)
    expected = history_table.arrays(TABLE)

    assert list(history.metrics) == list(expected["metrics"])
    np.testing.assert_array_equal(history.steps, expected["steps"])
    np.testing.assert_array_equal(history.times, expected["times"])
    for name in expected["metrics"]:
        np.testing.assert_array_equal(history.metrics[name], expected["metrics"][name])
        np.testing.assert_array_equal(history.present[name], expected["present"][name])
    assert repr(history_table.table_of(vars(history)).to_pydict()) == repr(TABLE.to_pydict())


def test_what_is_kept_is_what_is_read_later(tmp_path):
    """Writing a copy returns the arrays that are read from it later, mapped from the file."""
    path = tmp_path / "run.arrow"
    first, later = cache.keep(TABLE, path), cache.kept(path)
    assert first is not None
    assert later is not None

    assert path.stat().st_size == len(first["mapped"]) == len(later["mapped"])
    for name in ("steps", "times"):
        assert first[name].tobytes() == later[name].tobytes()
    for group in ("metrics", "present"):
        assert list(first[group]) == list(later[group])
        assert all(first[group][n].tobytes() == later[group][n].tobytes() for n in first[group])


def test_nothing_is_kept_where_nothing_can_be_written(tmp_path):
    """A copy whose folder cannot be made gives no arrays and no error."""
    (tmp_path / "file").touch()

    assert cache.keep(TABLE, tmp_path / "file" / "run.arrow") is None


def test_a_copy_stays_readable_after_its_memory_is_released(copy):
    """A history can be read again after its memory was released, even if the file is deleted."""
    histories = [history_of(copy)]
    copy.unlink()
    losses = [item.metrics["loss"].tolist() for item in one_by_one(histories) for _ in range(2)]

    assert losses == [pytest.approx([1.0, math.nan, math.inf], nan_ok=True)] * 2
    assert histories[0].steps.tolist() == [0, 2, 5]


def test_a_copy_cannot_be_written_through(copy):
    """The arrays of a copy are read-only, so that no code changes it by accident."""
    with pytest.raises(ValueError, match="read-only"):
        history_of(copy).metrics["loss"][0] = 2.0


@pytest.mark.parametrize("content", [b"", b"not a copy", b"ARROW1\0\0 cut short"])
def test_a_damaged_copy_is_ignored(copy, content: bytes):
    """A file with other content counts as no copy."""
    copy.write_bytes(content)

    assert cache.kept(copy) is None


def test_a_truncated_copy_is_ignored(copy):
    """A truncated file counts as no copy."""
    content = copy.read_bytes()
    copy.write_bytes(content[: len(content) // 2])

    assert cache.kept(copy) is None


def test_a_cache_that_cannot_be_written_is_not_used(clean_place, monkeypatch):
    """If the cache directory cannot be created, there are no copies and no errors."""
    (clean_place / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(clean_place / "file"))
    path = cache.place_of("mlflow", "run")
    cache.keep(TABLE, path)

    assert cache.kept(path) is None


def test_copies_are_the_users_own(copy):
    """Other users cannot read the directory, and no half-written file stays in it."""
    assert copy.parent.stat().st_mode & 0o077 == 0
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]


def test_the_least_recently_used_copies_are_deleted(copy):
    """Over the limit, the most recently used copies are kept."""
    size = copy.stat().st_size
    paths = [cache.place_of("wandb", number) for number in range(3)]
    for age, path in enumerate(paths):
        cache.keep(TABLE, path)
        os.utime(path, (1000.0 - age, 1000.0 - age))
    os.utime(copy, (900.0, 900.0))
    cache.kept(copy)
    cache.prune(limit=2 * size)

    assert [path.exists() for path in (copy, *paths)] == [True, True, False, False]


def test_no_flipped_bit_goes_unnoticed(copy):
    """A copy with any bit flipped counts as no copy, so that the run is fetched again."""
    content = copy.read_bytes()
    read = []
    for at in range(8 * len(content)):
        if at % 101 == 0 or at < 8 * 36:  # the header, and a sample of the rest
            flipped = bytearray(content)
            flipped[at // 8] ^= 1 << at % 8
            copy.write_bytes(flipped)
            read.append(cache.kept(copy))
    copy.write_bytes(content)

    assert set(read) == {None}
    assert cache.kept(copy) is not None


def test_a_copy_of_another_version_or_schema_is_ignored(copy, monkeypatch):
    """A copy that another version made, or one with other columns, counts as no copy."""
    with monkeypatch.context() as later:
        later.setattr(cache, "FORMAT", cache.FORMAT + 1)
        other_version = cache.kept(copy)
    table = pa.table({"step": pa.array([0], pa.int64()), "time": [0.0], "metric:loss": [1]})
    with monkeypatch.context() as odd:
        odd.setattr(cache, "_filled", lambda _: table)
        cache.keep(TABLE, copy)

    assert (other_version, cache.kept(copy)) == (None, None)


def test_a_user_without_a_home_directory_has_no_copies(monkeypatch):
    """Without a home directory there is no place for copies, and no error."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}["nobody"])
    path = cache.place_of("mlflow", "run")
    cache.keep(TABLE, path)
    cache.prune()

    assert cache.kept(path) is None
