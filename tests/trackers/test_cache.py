"""Copies of finished runs: what they hold, and what becomes of bad and of old ones."""

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
    """Where a copy of `TABLE` lies."""
    path = cache.place_of("mlflow", "somewhere", "run")
    cache.keep(TABLE, path)
    return path


def history_of(path: Path) -> History:
    """The history that a copy holds."""
    arrays = cache.kept(path)
    assert arrays is not None
    return History(Run("id", "name"), State.FINISHED, "mlflow", **arrays)


def test_a_copy_says_what_was_kept(copy):
    """Values, steps without one, NaN and infinities, whatever a metric is called."""
    found = history_of(copy)
    wanted = history_table.arrays(TABLE)

    assert list(found.metrics) == list(wanted["metrics"])
    np.testing.assert_array_equal(found.steps, wanted["steps"])
    np.testing.assert_array_equal(found.times, wanted["times"])
    for name in wanted["metrics"]:
        np.testing.assert_array_equal(found.metrics[name], wanted["metrics"][name])
        np.testing.assert_array_equal(found.present[name], wanted["present"][name])
    assert repr(history_table.table_of(vars(found)).to_pydict()) == repr(TABLE.to_pydict())


def test_a_copy_stays_readable_after_rest_and_deletion(copy):
    """What lets go of its memory has its values again, even when the file is gone."""
    histories = [history_of(copy)]
    copy.unlink()
    seen = [each.metrics["loss"].tolist() for each in one_by_one(histories) for _ in range(2)]

    assert seen == [pytest.approx([1.0, math.nan, math.inf], nan_ok=True)] * 2
    assert histories[0].steps.tolist() == [0, 2, 5]


def test_a_copy_cannot_be_written_through(copy):
    """The arrays are for reading: nobody changes a copy by accident."""
    with pytest.raises(ValueError, match="read-only"):
        history_of(copy).metrics["loss"][0] = 2.0


@pytest.mark.parametrize("content", [b"", b"not a copy", b"ARROW1\0\0 cut short"])
def test_what_is_no_copy_is_none(copy, content: bytes):
    """A file of something else is as good as none."""
    copy.write_bytes(content)

    assert cache.kept(copy) is None


def test_a_cut_copy_is_none(copy):
    """Half a file is as good as none."""
    content = copy.read_bytes()
    copy.write_bytes(content[: len(content) // 2])

    assert cache.kept(copy) is None


def test_a_place_that_cannot_be_written_is_none(clean_place, monkeypatch):
    """Where a file stands in the way, nothing is kept and nothing is raised."""
    (clean_place / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(clean_place / "file"))
    path = cache.place_of("mlflow", "run")
    cache.keep(TABLE, path)

    assert cache.kept(path) is None


def test_copies_are_the_users_own(copy):
    """Nobody else can read the directory; no half-written file is left in it."""
    assert copy.parent.stat().st_mode & 0o077 == 0
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]


def test_the_longest_unused_go_first(copy):
    """Over the limit, the copies that were asked for last stay."""
    size = copy.stat().st_size
    paths = [cache.place_of("wandb", number) for number in range(3)]
    for age, path in enumerate(paths):
        cache.keep(TABLE, path)
        os.utime(path, (1000.0 - age, 1000.0 - age))
    os.utime(copy, (900.0, 900.0))
    cache.kept(copy)
    cache.prune(limit=2 * size)

    assert [path.exists() for path in (copy, *paths)] == [True, True, False, False]
