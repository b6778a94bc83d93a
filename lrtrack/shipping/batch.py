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

Position = tuple[int, int]


@dataclass(frozen=True)
class Batch:
    """Records that may be sent now, and where the cursor stands after them.

    Attributes:
        rewind: abandons what was sent before, instead of any records.
        news: whether the journal says next what has become known of the run, instead of records.
    """

    records: list[StepRecord]
    after: Position
    more: bool
    rewind: Rewind | None = None
    news: bool = False


def take(reader: JournalReader, cursor: Cursor, alive: bool) -> Batch:
    """Takes up to `BATCH` steps or `VALUES` values behind the cursor, with parts of a step joined.

    The last step of a running run is held back, because `run.log` may still change it, unless the
    run asked to have everything delivered (`flush`).
    """
    records: list[StepRecord] = []
    positions: list[Position] = []
    after, sealed, room, is_cut = (cursor.offset, cursor.skip), 0, VALUES, False
    for entry in reader.entries(cursor.offset):
        if (rewind := event_rewind(entry.event)) is not None:
            if not records:
                return Batch([], (entry.end, 0), more=True, rewind=rewind)
            kept = [record for record in records if record.step < rewind.step]
            return Batch(joined(kept), (entry.start, 0), more=True)
        if has_news(entry.event):
            at = entry.start if records else entry.end
            return Batch(joined(records), (at, 0), more=True, news=not records)
        if entry.event is not None:
            after, sealed = (entry.end, 0), len(records)
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
    return Batch(joined(records), positions[-1] if positions else after, more)


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
