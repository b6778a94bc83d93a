"""Runs that were delivered without a part that their tracker refused."""

from __future__ import annotations

from collections.abc import Iterable

from lrtrack.journal.layout import Layout
from lrtrack.shipping.cursor import Cursor


def missing_parts(layout: Layout, run_ids: Iterable[str] | None = None) -> dict[str, str]:
    """Returns run id → which part is missing, why, and the fix.

    Args:
        layout: the journal directory.
        run_ids: these runs; None: all.
    """
    names = [path.stem for path in layout.journals()] if run_ids is None else run_ids
    missing = {}
    for run_id in names:
        for path in layout.journal(run_id).parent.glob(f"{run_id}.*.cursor"):
            cursor = Cursor.load(path)
            if cursor.closed and cursor.missing is not None:
                missing[run_id] = cursor.missing
    return missing


def summarized(missing: dict[str, str]) -> str:
    """Returns one line: how many runs lack a part, and what the first of them lacks."""
    count = len(missing)
    return f"{count} run{'' if count == 1 else 's'} without {next(iter(missing.values()))}"
