"""Journals of a test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lrtrack.journal.reader import JournalReader
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State
from lrtrack.schedules import Schedule

RUN = Run(
    id="0123456789abcdef0123456789abcdef",
    name="StepLR-seed1",
    schedule=Schedule("StepLR", {"step_size": 30, "gamma": 0.1}),
    optimizer={"name": "SGD", "lr": 0.1},
    seed=1,
)


def rows_of(table: pa.Table) -> dict[int, tuple[float, dict[str, float]]]:
    """A journal's table as a plain dict: step → time and the metrics that are there."""
    return {
        row.pop("step"): (row.pop("time"), {k: v for k, v in row.items() if v is not None})
        for row in table.to_pylist()
    }


@pytest.fixture
def rows() -> Callable[[Path], dict[int, tuple[float, dict[str, float]]]]:
    """Read a journal as a plain dict."""
    return lambda path: rows_of(JournalReader(path).table()[0])


@pytest.fixture
def run() -> Run:
    """A run's identity."""
    return RUN


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the test's journal goes."""
    return tmp_path / f"{RUN.id}.journal"


@pytest.fixture
def writer(path: Path) -> Iterator[Callable[..., JournalWriter]]:
    """Open the test's journal; whatever is open at the end is closed."""
    opened: list[JournalWriter] = []

    def open_one(**options: Any) -> JournalWriter:
        opened.append(JournalWriter(path, RUN, **options))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close(State.FINISHED)
