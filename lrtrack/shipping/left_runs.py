"""Runs that a machine has left in a shared journal directory: a node, a pod or a container.

It may be restarted under another name, or never. Then nobody else has its runs to deliver.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from lrtrack.errors import ForeignJournal, JournalError
from lrtrack.journal.layout import Layout, host
from lrtrack.journal.reader import JournalReader
from lrtrack.records import Run
from lrtrack.shipping.credentials import Opener, opener
from lrtrack.shipping.lock import held

#: Seconds without a change after which a run counts as left. Its lock alone tells the same where
#: all machines see each other's locks, which a network's file system may be set not to do.
QUIET = 120.0
#: How many runs of the queue a training looks at.
MOST = 50


@dataclass(frozen=True)
class LeftRun:
    """A run that another machine has left, and that no training here takes over.

    Attributes:
        name: the run's name.
        host: the machine.
        is_foreign: whether its journal was written with another user's key, or one that is lost.
    """

    name: str
    host: str
    is_foreign: bool


def is_left(layout: Layout, run: Run, opened: Opener) -> bool:
    """Returns whether the machine that opened `run`, whose journal nobody writes, is gone."""
    return not held(layout.shipper_lock(opened.key, opened.host)) and _is_quiet(layout, run)


def left_runs(layout: Layout, key: str) -> Iterator[LeftRun]:
    """Yields the oldest queued runs that other machines have left and that nobody delivers.

    Args:
        layout: the journal directory.
        key: the short name of the credentials here: runs that were opened with these are taken
            over, and not listed.
    """
    for run_id in layout.queued()[:MOST]:
        with contextlib.suppress(JournalError, OSError):
            reader = JournalReader(layout.journal(run_id))
            run = reader.claimed_run
            opened = opener(layout, run)
            if opened.host in ("", host()) or reader.alive() or not is_left(layout, run, opened):
                continue
            is_foreign = _is_foreign(reader)
            if is_foreign or opened.key != key:
                yield LeftRun(run.name, opened.host, is_foreign)


def _is_foreign(reader: JournalReader) -> bool:
    try:
        _ = reader.run
    except ForeignJournal:
        return True
    return False


def _is_quiet(layout: Layout, run: Run) -> bool:
    """Returns whether neither the journal nor the state of a delivery has changed lately."""
    files = [layout.journal(run.id)]
    files += [layout.cursor(run.id, target.tracker) for target in run.targets]
    changed = []
    for file in files:
        with contextlib.suppress(OSError):
            changed.append(file.stat().st_mtime)
    return time.time() - max(changed, default=0.0) > QUIET
