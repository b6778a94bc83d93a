"""Restores a journal that was deleted while its run is running.

The writer still has the file open, so nothing that it has written is lost before it closes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from pathlib import Path

from lrtrack.journal.descriptor import Descriptor
from lrtrack.journal.layout import open_regular, private_directory

#: Bytes copied at once.
_PART = 2**24


def restored(file: Descriptor, path: Path) -> Descriptor:
    """Puts a copy of the open file at `path`, and returns it, open and locked like the file.

    An older copy of the same run at `path` is replaced.

    Raises:
        OSError: that is impossible at present, or another process is writing the file there.
    """
    private_directory(path.parent)
    _refuse_where_written(path)
    for left in path.parent.glob(f".{path.name}.*"):  # by attempts that were killed
        left.unlink(missing_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    copy = Descriptor(draft)
    try:
        fcntl.flock(copy.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        at, end = 0, os.fstat(file.number).st_size
        while at < end:
            part = os.pread(file.number, min(_PART, end - at), at)
            if not part:
                raise OSError("the journal shrinks")
            at += len(part)
            while part:
                part = part[os.write(copy.number, part) :]
        _ = file.number  # what was read came from this file up to here
        draft.rename(path)
    except BaseException:
        copy.close()
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    return copy


def _refuse_where_written(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError), open_regular(path) as other:
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_UN)  # also for a child that is forked meanwhile
