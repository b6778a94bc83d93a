"""The runs of a journal directory that go on, or have ended since they were first seen."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from lrtrack.errors import LRTrackError
from lrtrack.journal.layout import Layout
from lrtrack.records import TRAIN
from lrtrack.reports.live import LiveRun
from lrtrack.trackers.base import DEFAULT_EXPERIMENT
from lrtrack.watching.followed import FollowedRun


class Journals:
    """Looks for trainings in a journal directory.

    Args:
        directory: the journal directory.
        experiments: those whose runs are followed; empty: all.
    """

    def __init__(self, directory: Path, experiments: Collection[str] = ()) -> None:
        self._layout = Layout(directory)
        self._experiments = experiments
        self._followed: dict[Path, FollowedRun] = {}
        self._passed_over: dict[Path, int] = {}

    def runs(self) -> list[LiveRun]:
        """What is known of each training now; those that began last come first."""
        for path in self._layout.journals():
            followed = self._followed.get(path)
            try:
                if followed is None:
                    self._begin(path)
                elif not followed.has_ended or path.stat().st_mtime_ns != self._passed_over[path]:
                    followed.look()
                    self._passed_over[path] = path.stat().st_mtime_ns
            except (LRTrackError, OSError, ValueError):  # not readable now, or for good
                continue
        runs = sorted(self._followed.values(), key=lambda one: -one.run.started)
        return [followed.shown() for followed in runs]

    def _begin(self, path: Path) -> None:
        changed = path.stat().st_mtime_ns
        if self._passed_over.get(path) == changed:
            return
        self._passed_over[path] = changed
        followed = FollowedRun(path)
        run = followed.run
        if run.kind != TRAIN:
            return
        if self._experiments and (run.experiment or DEFAULT_EXPERIMENT) not in self._experiments:
            return
        followed.look()
        if not followed.has_ended:
            self._followed[path] = followed
