"""Finds the journal of a run that is resumed, or that another run branches off."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lrtrack.errors import ForeignJournal, JournalError, warn
from lrtrack.journal import overflow
from lrtrack.journal.arrow_arrays import numbers_of
from lrtrack.journal.course import Course
from lrtrack.journal.layout import Layout, read_json
from lrtrack.journal.reader import JournalReader
from lrtrack.records import Run
from lrtrack.schedules import Schedule
from lrtrack.tracking.journal_location import other_layouts


@dataclass(frozen=True)
class ResumedRun:
    """A run and what its journal already holds.

    Attributes:
        run: the run.
        layout: the directory of its journal: the usual one, or one in a private directory.
        last_step: the last step so far; -1 without one.
        course: what its journal, or its parent's, holds so far; None without one.
        is_branch: whether `course` is that of the run's parent, so that the run begins a journal.
    """

    run: Run
    layout: Layout
    last_step: int = -1
    course: Course | None = None
    is_branch: bool = False

    @property
    def latest(self) -> float:
        """The time of the run's latest record, in seconds since the epoch; 0 without one."""
        if self.course is None or self.is_branch:
            return 0.0
        return float(numbers_of(self.course.table["time"]).max(initial=0.0))

    @property
    def schedule(self) -> Schedule:
        """The run's schedule as its journal describes it last."""
        run = self.run if self.course is None else self.course.completed(self.run)
        return run.schedule


def find_resumed(layout: Layout, prefix: str, run_id: str | None) -> ResumedRun | None:
    """Look for the journal to append to, or to branch off; None if there is none here.

    Args:
        layout: the journal directory; those in private directories are looked at, too.
        prefix: of the block's metrics.
        run_id: the id of the run to resume, lrtrack's or the tracker's; None: none.
    """
    for place, path in _candidates(layout, run_id) if run_id else ():
        with contextlib.suppress(OSError):  # then the records on the other disk stay there
            overflow.merge(path)
        try:
            reader = JournalReader(path)
            if reader.run.prefix != prefix:  # another optimizer of the same run
                continue
            course = reader.course()
            if reader.damage:
                warn(f"{path} is {reader.damage}; the run continues without the damaged records.")
            return ResumedRun(reader.run, place, course.last, course)
        except ForeignJournal as error:
            warn(str(error))
        except JournalError:
            continue
    return None


def branched(run: Run, parent: ResumedRun) -> ResumedRun:
    """A new run that continues a copy of `parent`; its first step may turn out to be earlier."""
    first = parent.last_step + 1
    branch = replace(run, parent=parent.run.id, branched_at=first)
    return ResumedRun(branch, parent.layout, parent.last_step, parent.course, is_branch=True)


def _candidates(layout: Layout, run_id: str) -> list[tuple[Layout, Path]]:
    """Journals of the run with their directories, the latest first: it may have several phases."""
    places = {place.root: place for place in (layout, *other_layouts(create=False))}
    found = [(place, path) for place in places.values() for path in _journals_in(place, run_id)]
    return sorted(found, key=lambda entry: _modification_time(entry[1]), reverse=True)


def _journals_in(layout: Layout, run_id: str) -> Iterator[Path]:
    runs = layout.root / "runs"
    yield from (path for path in runs.glob("*.journal") if path.stem == run_id)
    for cursor in runs.glob("*.cursor"):
        if (read_json(cursor) or {}).get("remote_id") == run_id:
            yield runs / f"{cursor.name.partition('.')[0]}.journal"


def _modification_time(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0
