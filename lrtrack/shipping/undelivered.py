"""Lists the runs of a journal directory that are not completely delivered."""

from __future__ import annotations

from dataclasses import dataclass

from lrtrack.errors import ForeignJournal, JournalError
from lrtrack.journal.layout import Layout, host
from lrtrack.journal.reader import JournalReader
from lrtrack.records import Target
from lrtrack.shipping.authorization import Authorization, Verdict
from lrtrack.shipping.credentials import opener
from lrtrack.shipping.cursor import Cursor
from lrtrack.shipping.progress import cursors
from lrtrack.shipping.unreadable import remedy

#: How many runs a message names at most.
SHOWN = 20


@dataclass(frozen=True)
class Undelivered:
    """A run of which some records are still only in its journal.

    Attributes:
        late: where it is still to be sent, and how this process may deliver it there.
        left: bytes of the journal not delivered everywhere.
        alive: the run is running.
        error: the obstacle, if it is known.
        failures: failed attempts.
        refused: a tracker has refused, so that its shipper has given up.
        key: the credentials of the process that opened it.
        host: its machine; empty if that is this one, or unknown.
        fix: what the user can do about a journal that cannot be read.
    """

    id: str
    name: str
    late: tuple[tuple[Target, Verdict], ...]
    left: int
    alive: bool
    error: str | None
    failures: int = 0
    refused: bool = False
    key: str = ""
    host: str = ""
    fix: str | None = None

    @property
    def trackers(self) -> tuple[str, ...]:
        """Names of the trackers where it is still to be sent."""
        return tuple(target.tracker for target, _ in self.late)


def undelivered(layout: Layout, tried: bool = False) -> list[Undelivered]:
    """Returns the runs that are not completely delivered, oldest first, unreadable ones included.

    Args:
        layout: the journal directory.
        tried: this process has just tried to deliver them.
    """
    authorization = Authorization(layout)
    runs = []
    for run_id in layout.queued():
        try:
            reader = JournalReader(layout.journal(run_id))
            run, alive, size = reader.run, reader.alive(), reader.size()
        except ForeignJournal:  # `lrtrack.shipping.foreign` lists those
            continue
        except (JournalError, OSError) as error:
            fix = remedy(layout.journal(run_id), error)
            runs.append(Undelivered(run_id, "?", (), 0, False, str(error), fix=fix))
            continue
        states = zip(run.targets, cursors(layout, run_id, run.targets), strict=True)
        late = [
            (target, state)
            for target, state in states
            if target.delivers and not (state.closed and state.offset >= size)
        ]
        trouble = (authorization.trouble(run, target, state, tried) for target, state in late)
        targets = tuple((target, authorization.verdict(run, target)) for target, _ in late)
        failures = sum(state.failures for _, state in late)
        bytes_left = max([0, *(size - state.offset for _, state in late)])
        refused = any(state.given_up for _, state in late)
        why = _reported(late) if alive else next(filter(None, trouble), None)
        opened = opener(layout, run)
        machine = "" if opened.host == host() else opened.host
        runs.append(
            Undelivered(
                run_id, run.name, targets, bytes_left, alive, why, failures, refused, opened.key,
                machine,
            )
        )  # fmt: skip
    return runs


def _reported(late: list[tuple[Target, Cursor]]) -> str | None:
    """Returns the error that the process serving a running run has stored."""
    return next((state.trouble for _, state in late if state.error), None)
