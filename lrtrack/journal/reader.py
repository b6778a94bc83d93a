"""Reads journals: from any offset, while they grow, and whatever is torn or damaged."""

from __future__ import annotations

import fcntl
import re
import shlex
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from lrtrack.errors import ForeignJournal, JournalError
from lrtrack.journal import signature
from lrtrack.journal.corruption import Damage
from lrtrack.journal.course import Course, course_of
from lrtrack.journal.course import merge as merge
from lrtrack.journal.ending import Ending as Ending
from lrtrack.journal.ending import ending_of as ending_of
from lrtrack.journal.events import Entry, understood
from lrtrack.journal.framing import FORMAT, HEAD, MAGIC, MAX_PAYLOAD, PREAMBLE, cut_off, decode
from lrtrack.journal.layout import open_regular
from lrtrack.journal.obstacles import obstacle
from lrtrack.records import Run

#: Bytes read at once, which bounds memory on long journals. Nearly every frame is far smaller; for
#: a larger one more is read, up to the largest frame.
CHUNK = 16 * 2**20
LARGEST = 2 * MAX_PAYLOAD


class JournalReader:
    """One journal file.

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
        with open_regular(self.path) as file:
            at, size = offset, CHUNK
            sound = max(at, len(PREAMBLE))  # everything before is read, or was skipped for a reason
            while True:
                file.seek(at)
                data = file.read(size)
                end = at
                for frame in decode(data, at):
                    end = frame.end
                    entry = understood(frame)
                    if frame.start > sound:
                        self._passed_over(file, sound, frame.start, entry)
                    sound = frame.end
                    if entry is None:
                        self.damage.add(frame.start, frame.end)
                        continue
                    self.damage.remove(frame.start)  # half of it may have been seen before
                    yield entry
                if len(data) < size:
                    self._tail(file, sound, at + len(data))
                    return
                if end > at:
                    at, size = end, CHUNK
                elif size < LARGEST:
                    size *= 2
                else:  # only damaged bytes: skip half of them
                    at, size = at + size // 2, CHUNK

    def stands(self, offset: int, skip: int) -> bool:
        """Returns whether a reader may have stopped at byte `offset`, after `skip` rows there.

        False for a position that is in no journal of this run, as in a cursor that was tampered
        with.
        """
        if offset in (0, self.size()):
            return skip == 0
        with open_regular(self.path) as file:
            file.seek(offset)
            head = file.read(len(MAGIC))
        if not head or not MAGIC.startswith(head):
            return False
        if skip == 0:
            return True
        entry = next(self.entries(offset), None)
        rows = None if entry is None or entry.start != offset else entry.rows
        return rows is not None and skip < rows.num_rows

    def inspect(self) -> Damage:
        """Reads the whole journal to find its damage."""
        for _ in self.entries():
            pass
        return self.damage

    def _passed_over(self, file: BinaryIO, start: int, end: int, after: Entry | None) -> None:
        """Records bytes that are no frame, unless a killed writer left them to a later one."""
        event = after.event if after is not None else None
        resumed = event is not None and event["event"] == "resume"
        if resumed and self._cut_off(file, start, end):
            self.damage.remove(start)
        else:
            self.damage.add(start, end)

    def _tail(self, file: BinaryIO, start: int, end: int) -> None:
        """Records bytes after the last frame, unless they can still become one, or never will."""
        if start < end and not self._cut_off(file, start, end):
            self.damage.add(start, end)
        else:
            self.damage.remove(start)

    @staticmethod
    def _cut_off(file: BinaryIO, start: int, end: int) -> bool:
        file.seek(start)
        return cut_off(file.read(HEAD), end - start)

    def alive(self) -> bool:
        """Returns whether some process still has this journal open for writing."""
        with open_regular(self.path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            fcntl.flock(file, fcntl.LOCK_UN)  # also for a child that is forked meanwhile
        return False

    def size(self) -> int:
        """Returns the file's present size in bytes."""
        return self.path.stat().st_size

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
