"""Fixtures of the journal tests: a run, a path, and writers that are closed after the test."""

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
    """Returns a journal's table as a dict from step to its time and recorded metrics."""
    return {
        row.pop("step"): (row.pop("time"), {k: v for k, v in row.items() if v is not None})
        for row in table.to_pylist()
    }


@pytest.fixture
def rows() -> Callable[[Path], dict[int, tuple[float, dict[str, float]]]]:
    """Reads a journal as a plain dict."""
    return lambda path: rows_of(JournalReader(path).table()[0])


@pytest.fixture
def run() -> Run:
    """The identity of a run."""
    return RUN


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the test's journal."""
    return tmp_path / f"{RUN.id}.journal"


@pytest.fixture
def writer(path: Path) -> Iterator[Callable[..., JournalWriter]]:
    """Opens writers for the test's journal and closes them after the test."""
    opened: list[JournalWriter] = []

    def open_one(**options: Any) -> JournalWriter:
        opened.append(JournalWriter(path, RUN, **options))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close(State.FINISHED)
