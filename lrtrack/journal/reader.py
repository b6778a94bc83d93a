"""Reads journals: from any offset, while they grow, and whatever is torn or damaged."""

from __future__ import annotations

import fcntl
import re
import shlex
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from lrtrack.errors import ForeignJournal, JournalError
from lrtrack.journal import packed, raw_segment, signature
from lrtrack.journal.corruption import Damage
from lrtrack.journal.course import Course, course_of
from lrtrack.journal.course import merge as merge
from lrtrack.journal.ending import Ending as Ending
from lrtrack.journal.ending import ending_of as ending_of
from lrtrack.journal.events import Entry
from lrtrack.journal.framing import FORMAT, MAGIC, PREAMBLE
from lrtrack.journal.layout import open_regular
from lrtrack.journal.obstacles import obstacle
from lrtrack.journal.segments import Segment, belongs, segments_of, size_of
from lrtrack.records import Run

#: How often one reading may find a segment gone because it was packed meanwhile.
LOOKS = 100


class JournalReader:
    """One journal, in all its segments.

    Attributes:
        damage: the damage that was found so far.

    Raises:
        JournalError: the file is missing, is no journal, or has a later format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = Damage()
        try:
            with open_regular(path) as file:
                head = file.read(len(PREAMBLE))
        except OSError as error:
            raise JournalError(f"cannot read {path}: {obstacle(path, error)}") from error
        if head != PREAMBLE:
            version = re.match(rb"lrtrack journal (\d+)", head)
            later = version is not None and int(version[1]) > FORMAT
            hint = "it was written by a later lrtrack: upgrade" if later else "it is not a journal"
            raise JournalError(f"cannot read {path}: {hint}")

    @cached_property
    def run(self) -> Run:
        """The run's identity, which says where its steps go.

        Raises:
            ForeignJournal: this user neither wrote the journal nor accepted it.
            JournalError: it has no readable record of its run.
        """
        run, genuine = self.claimed_run, signature.counts(self._identity)
        if not genuine or run.id != self.path.stem:
            raise ForeignJournal(
                f"{self.path} was not written by you, so it is not used. Fix: if you trust it, "
                f"accept it with `lrtrack sync --adopt {shlex.quote(str(self.path.parents[1]))}`"
            )
        return run

    @cached_property
    def claimed_run(self) -> Run:
        """The run's identity in the journal, whoever wrote it: for display, not to be acted on."""
        try:
            return Run.from_dict(self._identity["run"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise JournalError(f"cannot read {self.path}: {error!r}") from error

    def adopt(self) -> None:
        """Accepts a journal that somebody else wrote, as its first record is now.

        Raises:
            JournalError: it has no readable record, or the acceptance cannot be stored.
        """
        if self.claimed_run.id != self.path.stem:
            raise JournalError(f"{self.path} describes another run, {self.claimed_run.id}")
        signature.approve(self._identity, self.path)
        self.__dict__.pop("run", None)

    @cached_property
    def _identity(self) -> dict[str, Any]:
        """Returns the first event that describes the run (of a resumed run, if the first was
        lost).
        """
        for entry in self.entries():
            if entry.event is not None and entry.event["event"] in ("run", "resume"):
                return entry.event
        why = f": {self.damage}" if self.damage else ""
        raise JournalError(f"{self.path} says nothing about its run{why}")

    def entries(self, offset: int = 0) -> Iterator[Entry]:
        """Yields complete entries from byte `offset` to the present end; the rest goes to
        `damage`.
        """
        at, chain, looks = offset, segments_of(self.path), 0
        while True:
            segment = next((each for each in chain if at < each.end), chain[-1])
            is_last = segment is chain[-1]
            if at < segment.start:
                self.damage.add(at, segment.start)  # a segment is missing
                at = segment.start
            try:
                for entry in self._entries_in(segment, at, is_last):
                    at = entry.end
                    yield entry
            except FileNotFoundError:
                if (looks := looks + 1) > LOOKS:
                    raise
                chain = segments_of(self.path)  # it was packed meanwhile
                continue
            if not is_last:
                at = max(at, segment.end)
                continue
            # Another one may have begun meanwhile: then what has come to this one is read first.
            chain = segments_of(self.path)
            if chain[-1].start == segment.start:
                return

    def _entries_in(self, segment: Segment, offset: int, grows: bool) -> Iterator[Entry]:
        """Yields the entries of one segment from byte `offset` of the journal on."""
        if segment.is_packed:
            return packed.entries(segment, offset, self.damage)
        if not belongs(segment, self.path):
            self.damage.add(segment.start, segment.end)
            return iter(())
        return raw_segment.entries(segment, self.path.stem, offset, self.damage, grows=grows)

    def stands(self, offset: int, skip: int) -> bool:
        """Returns whether a reader may have stopped at byte `offset`, after `skip` rows there.

        False for a position that is in no journal of this run, as in a cursor that was tampered
        with.
        """
        chain = segments_of(self.path)
        if offset in {chain[-1].end, *(segment.start for segment in chain)} and skip == 0:
            return True
        segment = next((each for each in chain if each.start <= offset < each.end), None)
        if segment is None or not self._begins_at(segment, offset):
            return False
        if skip == 0:
            return True
        entry = next(self.entries(offset), None)
        rows = None if entry is None or entry.start != offset else entry.rows
        return rows is not None and skip < rows.num_rows

    @staticmethod
    def _begins_at(segment: Segment, offset: int) -> bool:
        """Returns whether an entry begins, or may begin, at byte `offset` of the journal."""
        if segment.is_packed:
            return packed.begins_at(segment, offset)
        with open_regular(segment.path) as file:
            file.seek(offset - segment.start)
            head = file.read(len(MAGIC))
        return bool(head) and MAGIC.startswith(head)

    def inspect(self) -> Damage:
        """Reads the whole journal to find its damage."""
        for _ in self.entries():
            pass
        return self.damage

    def alive(self) -> bool:
        """Returns whether some process still has this journal open for writing."""
        with open_regular(self.path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError as error:  # on a file system without locks, nothing is written
                return isinstance(error, BlockingIOError)
            fcntl.flock(file, fcntl.LOCK_UN)  # also for a child that is forked meanwhile
        return False

    def size(self) -> int:
        """Returns the bytes of the journal as it was written so far, in all its segments."""
        return size_of(self.path)

    def table(self) -> tuple[pa.Table, Ending | None]:
        """Returns the surviving rows, merged to one per step in ascending order, and the ending if
        there is one.

        Returns:
            A table with columns `step` int64, `time` float64, then one nullable float64 column per
            metric in order of appearance; and how the run ended, None if the journal does not say.
        """
        course = self.course()
        return course.table, course.ending

    def course(self, most: int | None = None) -> Course:
        """Returns everything that the whole journal says about its run's steps.

        Args:
            most: the most metrics that are read, those that appear first; None: all.
        """
        return course_of(self.entries(), most)
