"""Notices when the user ends an open run that lrtrack's run was joined to."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lrtrack.journal.layout import Layout
from lrtrack.records import Run
from lrtrack.trackers.base import Tracker
from lrtrack.trackers.hooks import GuardsOpenRuns, RunGuard


class OpenRunGuards:
    """The guards of one run, by the name of their tracker."""

    def __init__(self) -> None:
        self._guards: dict[str, RunGuard] = {}

    def enter(
        self,
        run: Run,
        trackers: Iterable[Tracker],
        layout: Layout,
        upload_now: Callable[[], None],
    ) -> None:
        """Install the guards of the run's joined targets.

        Args:
            run: the run.
            trackers: those of its targets, in the same order.
            layout: the journal directory.
            upload_now: called when the user is about to end an open run.
        """
        for tracker, target in zip(trackers, run.targets, strict=True):
            if not target.joined or not isinstance(tracker, GuardsOpenRuns):
                continue
            guard = tracker.guard(layout.gate(run.id, target.tracker), upload_now)
            if guard is not None:
                self._guards[target.tracker] = guard  # first, so it is always left
                guard.enter()

    def leave(self) -> set[str]:
        """Remove the guards; returns the trackers whose run must not be waited for."""
        return {name for name, guard in self._guards.items() if not guard.leave()}

    def leaving(self) -> list[Callable[[], object]]:
        """One action per guard that removes it, for callers that continue after a failure."""
        return [guard.leave for guard in self._guards.values()]

    def tick(self) -> None:
        """Look after the guards, a few times a second."""
        for guard in self._guards.values():
            guard.tick()
