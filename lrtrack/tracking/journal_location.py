"""Where a block's journal goes: the journal directory, or another disk if that one is full."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from lrtrack.capture.device_scalars import settle
from lrtrack.capture.optimizers import rank
from lrtrack.errors import JournalError, warn
from lrtrack.journal import overflow
from lrtrack.journal.framing import PREAMBLE
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State
from lrtrack.shipping.credentials import note_opener
from lrtrack.user_state import private_directories

#: The journal directory inside a private directory of the user's.
FOLDER = "journals"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def open_journal(
    layout: Layout,
    run: Run,
    credentials: Mapping[str, str],
    on_tick: Any,
    on_rows: Any,
    is_abandoned: Callable[[], bool],
) -> tuple[Layout, JournalWriter | None]:
    """Open the run's journal and queue it.

    Args:
        layout: the journal directory.
        run: the run.
        credentials: of this process, as salted hashes; those of a resumed run may be others.
        on_tick, on_rows, is_abandoned: as for `JournalWriter`.

    Returns:
        The directory that it is in, another one if the disk is full, and the journal: None, with a
        warning, if there is no place for it.
    """
    if rank() > 0:
        return layout, None  # one run for all processes, written by rank 0

    def open_in(place: Layout) -> JournalWriter:
        place.create()
        # Before any shipper looks at the run.
        note_opener(place, run, credentials)
        return _open_in(place, run, on_tick, on_rows, is_abandoned)

    try:
        return layout, open_in(layout)
    except (JournalError, OSError) as error:
        if _is_full(error) and (found := _elsewhere(open_in, error)) is not None:
            return found
        warn(f"lrtrack {error}. Training goes on without a record; set LRTRACK_DIR elsewhere.")
        return layout, None


def _elsewhere(
    open_in: Callable[[Layout], JournalWriter], error: Exception
) -> tuple[Layout, JournalWriter] | None:
    """Open the journal on another disk, as this one is full; None where that has no room either."""
    for place in private_directories():
        layout = Layout(place / FOLDER)
        try:
            writer = open_in(layout)
        except (JournalError, OSError):
            continue
        warn(
            f"lrtrack {error}. This run is recorded in {layout.root} instead, and uploaded from "
            f"there, if need be by `LRTRACK_DIR={layout.root} lrtrack sync`. Fix: make room, or "
            "set LRTRACK_DIR."
        )
        return layout, writer
    return None


def _open_in(
    layout: Layout, run: Run, on_tick: Any, on_rows: Any, is_abandoned: Callable[[], bool]
) -> JournalWriter:
    # Queued before there is a journal: whoever is killed in between leaves no lost run. And
    # after: a shipper that was about to settle a run resumed here has not seen it so far.
    queue(layout, run)
    path = layout.journal(run.id)
    writer = None
    try:
        on_lost, elsewhere = partial(queue, layout, run), overflow.Overflow(path)
        writer = JournalWriter(
            path, run, settle, on_tick, on_rows, on_lost, elsewhere, is_abandoned
        )
        queue(layout, run)
        _ = JournalReader(path).run  # whoever delivers it must be able to read it
        return writer
    except BaseException:
        if writer is not None:
            writer.close(State.FAILED, wait=False)
        _discard_unbegun(layout, run)
        raise


def queue(layout: Layout, run: Run) -> None:
    """Have the directory there, and the run in its queue if there is anything to deliver."""
    layout.create()
    if any(target.portable and target.delivers for target in run.targets):
        layout.marker(run.id).touch(mode=0o600)


def _discard_unbegun(layout: Layout, run: Run) -> None:
    """Take a run out of the queue of which there is no word: it would be taken for a broken one."""
    path = layout.journal(run.id)
    with contextlib.suppress(OSError):
        if path.exists() and path.stat().st_size <= len(PREAMBLE):
            if not PREAMBLE.startswith(path.read_bytes()):
                return
            path.unlink()
        if not path.exists():
            layout.marker(run.id).unlink(missing_ok=True)


def _is_full(error: Exception) -> bool:
    causes = (error, error.__cause__)
    return any(isinstance(cause, OSError) and cause.errno in _FULL for cause in causes)
