"""Opens the journal of a run in the journal directory, or on another disk if that one is full,
has no locks, or does not answer.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lrtrack.capture.device_scalars import settle
from lrtrack.capture.optimizers import rank
from lrtrack.clock import Clock
from lrtrack.errors import JournalError, warn
from lrtrack.journal import overflow
from lrtrack.journal.framing import PREAMBLE
from lrtrack.journal.layout import Layout, touch
from lrtrack.journal.reader import JournalReader
from lrtrack.journal.watchdog import LOOKS, PERIOD, answers
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State
from lrtrack.settings import deleted_directory
from lrtrack.shipping.credentials import note_opener
from lrtrack.user_state import private_directories

#: The name of the journal directory inside a private directory of the user.
FOLDER = "journals"
#: What a file system says that has no room, or no locks: Lustre without `-o flock`, or NFS without
#: its lock service.
_FULL = (errno.ENOSPC, errno.EDQUOT)
_LOCKLESS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def other_layouts(*, create: bool = True) -> Iterator[Layout]:
    """Yield the directories for journals that the journal directory does not take.

    Args:
        create: create the private directories that they are in; otherwise only existing ones count.
    """
    for directory in private_directories(create):
        yield Layout(directory / FOLDER)


def answering(directory: Path) -> Path:
    """Return the journal directory, or another one, with a warning, if it does not answer."""
    if rank() > 0 or answers(directory):
        return directory
    others = (layout.root for layout in other_layouts())
    other = next((root for root in others if answers(root)), None)
    if other is None:
        return directory
    warn(
        f"The file system of {directory} has not answered for {PERIOD * LOOKS:g} s. This run is "
        f"recorded in {_instead(other)} Fix: check the mount, or set LRTRACK_DIR to a disk that "
        "answers."
    )
    return other


def _instead(root: Path) -> str:
    return f"{root} instead, and uploaded from there, or by `LRTRACK_DIR={root} lrtrack sync`."


def open_journal(
    layout: Layout,
    run: Run,
    credentials: Mapping[str, str],
    on_tick: Any,
    on_rows: Any,
    is_abandoned: Callable[[], bool],
    clock: Clock,
) -> tuple[Layout, JournalWriter | None]:
    """Open the run's journal and queue it.

    Args:
        layout: the journal directory.
        run: the run.
        credentials: salted hashes of this process's credentials; a resumed run may have others.
        on_tick, on_rows, is_abandoned, clock: as for `JournalWriter`.

    Returns:
        The directory of the journal (another one if the disk is full), and the journal: None, with
        a warning, if it cannot be opened anywhere.
    """
    if rank() > 0:
        return layout, None  # all processes share one run, which rank 0 writes

    def open_in(layout: Layout) -> JournalWriter:
        deleted = None if layout.root.exists() else deleted_directory()
        layout.create()
        if deleted is not None and layout.root.is_relative_to(deleted):
            warn(
                f"The working directory {deleted} was deleted. lrtrack has created it again for "
                "this run. Fix: set LRTRACK_DIR to a directory that stays."
            )
        # Must be there before any uploading process reads the run.
        note_opener(layout, run, credentials)
        return _open_in(layout, run, on_tick, on_rows, is_abandoned, clock)

    try:
        return layout, open_in(layout)
    except (JournalError, OSError) as error:
        remedy = _remedy(error)
        if remedy and (moved := _open_elsewhere(open_in, error, remedy)) is not None:
            return moved
        warn(
            f"lrtrack {error}. Training continues without a record. Fix: set LRTRACK_DIR to a "
            "writable directory."
        )
        return layout, None


def _open_elsewhere(
    open_in: Callable[[Layout], JournalWriter], error: Exception, remedy: str
) -> tuple[Layout, JournalWriter] | None:
    """Open the journal on another disk; None if that is impossible, too."""
    for layout in other_layouts():
        try:
            writer = open_in(layout)
        except (JournalError, OSError):
            continue
        warn(f"lrtrack {error}. This run is recorded in {_instead(layout.root)} {remedy}")
        return layout, writer
    return None


def _open_in(
    layout: Layout,
    run: Run,
    on_tick: Any,
    on_rows: Any,
    is_abandoned: Callable[[], bool],
    clock: Clock,
) -> JournalWriter:
    # Queued before the journal exists, so that a kill in between loses no run, and once more
    # afterwards: an uploading process may have just removed a run that is resumed here.
    queue(layout, run)
    path = layout.journal(run.id)
    writer = None
    try:
        on_lost, elsewhere = partial(queue, layout, run), overflow.Overflow(path)
        writer = JournalWriter(
            path, run, settle, on_tick, on_rows, on_lost, elsewhere, is_abandoned, clock
        )
        queue(layout, run)
        _ = JournalReader(path).run  # the uploading process must be able to read it
        return writer
    except BaseException:
        if writer is not None:
            writer.close(State.FAILED, wait=False)
        _remove_unstarted(layout, run)
        raise


def queue(layout: Layout, run: Run) -> None:
    """Create the directory, and queue the run if there is anything to upload."""
    layout.create()
    if any(target.portable and target.delivers for target in run.targets):
        touch(layout.marker(run.id))


def _remove_unstarted(layout: Layout, run: Run) -> None:
    """Remove a run without any record from the queue, where it would count as corrupt."""
    path = layout.journal(run.id)
    with contextlib.suppress(OSError):
        if path.exists() and path.stat().st_size <= len(PREAMBLE):
            if not PREAMBLE.startswith(path.read_bytes()):
                return
            path.unlink()
        if not path.exists():
            layout.marker(run.id).unlink(missing_ok=True)


def _remedy(error: Exception) -> str | None:
    """What to do about a disk that cannot have a journal; None if no other disk would help."""
    causes = (error, error.__cause__)
    numbers = [cause.errno for cause in causes if isinstance(cause, OSError)]
    if any(number in _FULL for number in numbers):
        return "Fix: free disk space, or set LRTRACK_DIR to another disk."
    if any(number in _LOCKLESS for number in numbers):
        return (
            "That file system has no locks (flock), without which two processes could upload the "
            "same run. Other machines may not see the new directory: what is not uploaded when "
            "this machine is gone is lost. Fix: mount the file system with locks (Lustre: -o "
            "flock), or set LRTRACK_DIR to a directory on one that has them."
        )
    return None
