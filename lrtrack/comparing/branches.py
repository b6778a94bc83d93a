"""Links runs that branched off others to their parents, whose first steps they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lrtrack.records import History

#: The longest chain of branches; a longer one, or a circle, is cut.
_DEPTH = 20


def with_parents(histories: Sequence[History], every: Sequence[History]) -> list[History]:
    """Give each branch its parent, if that was read from the same tracker.

    Args:
        histories: the runs to link.
        every: the runs among which to look, also those that filters have left out.
    """
    known = {
        (history.tracker, run_id): history
        for history in every
        for run_id in (history.run.id, history.id)
    }
    return [_linked(history, known, _DEPTH) for history in histories]


def _linked(history: History, known: dict[tuple[str, str], History], levels_left: int) -> History:
    run = history.run
    parent = known.get((history.tracker, run.parent)) if run.parent is not None else None
    if parent is None or parent is history or levels_left == 0:
        return history
    return replace(history, parent=_linked(parent, known, levels_left - 1))
