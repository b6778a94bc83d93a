"""What is undelivered in a journal directory."""

from __future__ import annotations

from dataclasses import dataclass

from lrtrack.errors import ForeignJournal, JournalError
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader
from lrtrack.shipping.waiting import cursors

#: Runs that are named to people, of however many.
SHOWN = 20


@dataclass(frozen=True)
class Pending:
    """A run of which something is still only in its journal.

    Attributes:
        trackers: where it has yet to go.
        left: bytes of the journal not delivered everywhere.
        alive: the run goes on.
        error: what stands in the way, if that is known.
        failures: attempts that came to nothing.
        refused: a tracker has said no, so that whoever serves the run has given it up.
    """

    id: str
    name: str
    trackers: tuple[str, ...]
    left: int
    alive: bool
    error: str | None
    failures: int = 0
    refused: bool = False


def pending(layout: Layout) -> list[Pending]:
    """Runs with something undelivered, oldest first; broken journals among them."""
    found = []
    for run_id in layout.queued():
        try:
            reader = JournalReader(layout.journal(run_id))
            run, alive, size = reader.run, reader.alive(), reader.size()
        except ForeignJournal:  # `lrtrack.shipping.foreign` lists those
            continue
        except (JournalError, OSError) as error:
            found.append(Pending(run_id, "?", (), 0, False, str(error)))
            continue
        states = zip(run.targets, cursors(layout, run_id, run.targets), strict=True)
        late = [
            (target, state)
            for target, state in states
            if target.delivers and not (state.closed and state.offset >= size)
        ]
        told = next((state.error for _, state in late if state.error), None)
        trackers = tuple(target.tracker for target, _ in late)
        failures = sum(state.failures for _, state in late)
        left = max([0, *(size - state.offset for _, state in late)])
        refused = any(state.given_up for _, state in late)
        found.append(Pending(run_id, run.name, trackers, left, alive, told, failures, refused))
    return found
