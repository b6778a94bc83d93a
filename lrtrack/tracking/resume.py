"""Finding the journal of a run that is resumed."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from lrtrack.errors import ForeignJournal, JournalError, warn
from lrtrack.journal import overflow
from lrtrack.journal.layout import Layout, read_json
from lrtrack.journal.reader import JournalReader
from lrtrack.records import Run


def continued(layout: Layout, run: Run, resume: str | None) -> tuple[Run, int, Any]:
    """The run whose journal is to be continued, the last step in it, and its table of records.

    `run`, -1 and None where there is none.
    """
    for path in _candidates(layout, resume) if resume else ():
        with contextlib.suppress(OSError):  # then the run goes on before what is kept elsewhere
            overflow.merge(path)
        try:
            reader = JournalReader(path)
            if reader.run.prefix != run.prefix:  # of another optimizer in the same run
                continue
            table, _ = reader.table()
            steps = table["step"]
            if reader.damage:
                warn(f"{path} is {reader.damage}; the run goes on without what was there.")
            return reader.run, int(steps[-1].as_py()) if len(steps) else -1, table
        except ForeignJournal as error:
            warn(str(error))
        except JournalError:
            continue
    return run, -1, None


def _candidates(layout: Layout, resume: str) -> list[Any]:
    runs = layout.root / "runs"
    found = [path for path in runs.glob("*.journal") if path.stem == resume]
    for cursor in runs.glob("*.cursor"):
        if (read_json(cursor) or {}).get("remote_id") == resume:
            found.append(runs / f"{cursor.name.partition('.')[0]}.journal")
    # Of several phases of one run the latest goes on.
    return sorted(found, key=_written, reverse=True)


def _written(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0
