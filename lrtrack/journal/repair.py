"""Putting back a journal that somebody deleted while its run goes on.

The writer still holds the file, so nothing that it has written is gone until it lets go.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from lrtrack.journal.descriptor import Descriptor

#: Bytes copied at once.
_PART = 2**24


def restored(file: Descriptor, path: Path) -> Descriptor:
    """Put a copy of the open file at `path`, and return it, open and locked like the file.

    What lies there meanwhile, an older copy of the same run, is replaced.

    Raises:
        OSError: that cannot be done now, or another process is writing what lies there.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_where_written(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)  # of an attempt that was killed
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
    with contextlib.suppress(FileNotFoundError), path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
