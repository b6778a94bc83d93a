"""Finds the journal of a run that is resumed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from lrtrack.errors import ForeignJournal, JournalError, warn
from lrtrack.journal import overflow
from lrtrack.journal.layout import Layout, read_json
from lrtrack.journal.reader import JournalReader
from lrtrack.records import Run


@dataclass(frozen=True)
class ResumedRun:
    """A run and what its journal already holds.

    Attributes:
        run: the run.
        last_step: the last step in its journal; -1 without one.
        table: its records so far; None for a new journal.
    """

    run: Run
    last_step: int = -1
    table: pa.Table | None = None


def find_resumed(layout: Layout, run: Run, run_id: str | None) -> ResumedRun:
    """Look for the journal to append to.

    Args:
        layout: the journal directory.
        run: the run of the block; returned as it is if there is no journal to append to.
        run_id: the id of the run to resume, lrtrack's or the tracker's; None: none.
    """
    for path in _candidates(layout, run_id) if run_id else ():
        with contextlib.suppress(OSError):  # then the records on the other disk stay there
            overflow.merge(path)
        try:
            reader = JournalReader(path)
            if reader.run.prefix != run.prefix:  # another optimizer of the same run
                continue
            table, _ = reader.table()
            steps = table["step"]
            if reader.damage:
                warn(f"{path} is {reader.damage}; the run continues without the damaged records.")
            return ResumedRun(reader.run, int(steps[-1].as_py()) if len(steps) else -1, table)
        except ForeignJournal as error:
            warn(str(error))
        except JournalError:
            continue
    return ResumedRun(run)


def _candidates(layout: Layout, run_id: str) -> list[Path]:
    """Journals of the run, the latest first: a run may have several phases."""
    runs = layout.root / "runs"
    paths = [path for path in runs.glob("*.journal") if path.stem == run_id]
    for cursor in runs.glob("*.cursor"):
        if (read_json(cursor) or {}).get("remote_id") == run_id:
            paths.append(runs / f"{cursor.name.partition('.')[0]}.journal")
    return sorted(paths, key=_modification_time, reverse=True)


def _modification_time(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0
