"""A run as its first tracker knows it."""

from __future__ import annotations

from collections.abc import Callable

from lrtrack.records import Run
from lrtrack.shipping.cursor import Cursor

#: Waits for the delivery to the first tracker to begin; None if that is not known in time.
FirstCursor = Callable[[], Cursor | None]


class RemoteRun:
    """Id and address of a run in its first tracker.

    Args:
        run: the run.
    """

    def __init__(self, run: Run) -> None:
        self._own_id = run.id
        self._target = run.targets[0] if run.targets else None
        is_joined = self._target is not None and self._target.joined
        self._id = self._target.run_id if self._target is not None and is_joined else None

    def id(self, first_cursor: FirstCursor) -> str:
        """The tracker's id, or lrtrack's own if that cannot be known in time; always the same."""
        if self._id is None:
            cursor = first_cursor()
            self._id = (cursor and cursor.remote_id) or self._own_id
        return self._id

    def url(self, first_cursor: FirstCursor) -> str | None:
        """The address of the run's page, if the tracker has one."""
        if self._target is not None and self._target.url is not None:
            return self._target.url
        cursor = first_cursor()
        return cursor.url if cursor is not None else None
