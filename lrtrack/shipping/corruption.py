"""Lists damaged journals, without reading again what a delivery has already read."""

from __future__ import annotations

from lrtrack.errors import JournalError
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader
from lrtrack.shipping.cursor import Cursor


def damaged(layout: Layout) -> dict[str, str]:
    """Returns run id → damage of its journal, newest first.

    The cursor has the damage of what was delivered; undelivered journals are read now.
    """
    queued = set(layout.queued())
    damage_by_run = {}
    for path in layout.journals():
        damage = _told(layout, path.stem)
        if damage is None and path.stem in queued:
            damage = _seen(layout, path.stem)
        if damage is not None:
            damage_by_run[path.stem] = damage
    return damage_by_run


def _told(layout: Layout, run_id: str) -> str | None:
    cursors = layout.journal(run_id).parent.glob(f"{run_id}.*.cursor")
    return next(filter(None, (Cursor.load(path).damage for path in cursors)), None)


def _seen(layout: Layout, run_id: str) -> str | None:
    try:
        damage = JournalReader(layout.journal(run_id)).inspect()
    except (JournalError, OSError):  # listed elsewhere, as a run that cannot be delivered
        return None
    return str(damage) if damage else None
