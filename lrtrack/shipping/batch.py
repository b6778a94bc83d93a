"""Takes the next records of a run from its journal, as many as a tracker gets at once."""

from __future__ import annotations

from dataclasses import dataclass

from lrtrack.journal.course import event_rewind
from lrtrack.journal.ending import has_news
from lrtrack.journal.events import Entry
from lrtrack.journal.reader import JournalReader
from lrtrack.records import Rewind, StepRecord
from lrtrack.shipping.cursor import Cursor
from lrtrack.shipping.step_numbering import joined

#: Steps given to a tracker at once: enough to fill its requests, few enough to show progress; and
#: about the most values, each of which takes a hundred bytes on its way.
BATCH, VALUES = 1000, 2**17
#: Events before which everything is to be delivered.
_BREAKS = ("flush", "resume", "end")

Position = tuple[int, int]


@dataclass(frozen=True)
class Batch:
    """What may be sent now, and where the cursor stands after it.

    Attributes:
        parts: the records as they are in the journal, which may have several for a step.
        positions: where the cursor stands after each of them.
        before, after: where the cursor stands before and after all of them.
        breaks: how many of `parts` come before each event of `_BREAKS`.
        abandoned: the first of the steps that what follows in the journal abandons; None: there
            are none.
        rewind: abandons what was sent before, instead of any records.
        news: whether the journal says next what has become known of the run, instead of records.
    """

    parts: list[StepRecord]
    positions: list[Position]
    before: Position
    after: Position
    more: bool
    breaks: tuple[int, ...] = ()
    abandoned: int | None = None
    rewind: Rewind | None = None
    news: bool = False

    @property
    def records(self) -> list[StepRecord]:
        """The records that are worth sending, one for each step."""
        step = self.abandoned
        return joined(self.parts if step is None else [p for p in self.parts if p.step < step])


def take(reader: JournalReader, cursor: Cursor, alive: bool) -> Batch:
    """Takes up to `BATCH` steps or `VALUES` values behind the cursor.

    The last step of a running run is held back, because `run.log` may still change it, unless the
    run asked to have everything delivered (`flush`).
    """
    records: list[StepRecord] = []
    positions: list[Position] = []
    breaks: list[int] = []
    before = cursor.offset, cursor.skip
    after, sealed, room, is_cut = before, 0, VALUES, False
    for entry in reader.entries(cursor.offset):
        rewind = event_rewind(entry.event)
        if rewind is not None or has_news(entry.event):
            found = records, positions, before
            if records:
                step = None if rewind is None else rewind.step
                return Batch(*found, (entry.start, 0), True, tuple(breaks), step)
            at = (entry.end, 0)
            return Batch(*found, at, True, tuple(breaks), rewind=rewind, news=rewind is None)
        if entry.event is not None:
            after, sealed = (entry.end, 0), len(records)
            if entry.event["event"] in _BREAKS:
                breaks.append(len(records))
            if positions:
                positions[-1] = after
            continue
        count, width = _size(entry)
        skipped = cursor.skip if entry.start == cursor.offset else 0
        most = min(BATCH + 1 - len(records), max(room // width, not records))
        stop = min(skipped + most, count)
        records += entry.records(skipped, stop)
        room -= (stop - skipped) * width
        positions += [(entry.start, at + 1) for at in range(skipped, min(stop, count - 1))]
        positions += [(entry.end, 0)] if skipped < stop == count else []
        is_cut = stop < count
        if is_cut or len(records) > BATCH:
            break
    else:
        keep = _unchanging(records, sealed) if alive else len(records)
        records, positions = records[:keep], positions[:keep]
    more = is_cut or len(records) > BATCH
    records, positions = records[:BATCH], positions[:BATCH]
    after = positions[-1] if positions else after
    return Batch(records, positions, before, after, more, tuple(breaks))


def _unchanging(records: list[StepRecord], sealed: int) -> int:
    """Returns how many records no later part can change: `sealed`, and all before the last step."""
    keep = len(records)
    while keep > sealed and records[keep - 1].step == records[-1].step:
        keep -= 1
    return keep


def _size(entry: Entry) -> tuple[int, int]:
    """Returns the rows and columns of an entry with rows."""
    assert entry.rows is not None
    return entry.rows.num_rows, entry.rows.num_columns
