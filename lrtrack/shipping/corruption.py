"""Which journals are damaged, as far as that is known without reading all of them again."""

from __future__ import annotations

from lrtrack.errors import JournalError
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader
from lrtrack.shipping.cursor import Cursor


def damaged(layout: Layout) -> dict[str, str]:
    """Run id to what is wrong with its journal, newest first.

    What was delivered was read, and its cursor tells; what waits for that is read now.
    """
    queued = set(layout.queued())
    found = {}
    for path in layout.journals():
        told = _told(layout, path.stem)
        if told is None and path.stem in queued:
            told = _seen(layout, path.stem)
        if told is not None:
            found[path.stem] = told
    return found


def _told(layout: Layout, run_id: str) -> str | None:
    cursors = layout.journal(run_id).parent.glob(f"{run_id}.*.cursor")
    return next(filter(None, (Cursor.load(path).damage for path in cursors)), None)


def _seen(layout: Layout, run_id: str) -> str | None:
    try:
        found = JournalReader(layout.journal(run_id)).inspect()
    except (JournalError, OSError):  # told elsewhere, as something that cannot be delivered
        return None
    return str(found) if found else None
