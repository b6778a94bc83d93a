"""Putting back a journal that somebody deleted while its run goes on.

The writer still holds the file, so nothing that it has written is gone until it lets go.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

#: Bytes copied at once.
_PART = 2**24


def lost(file: int, path: Path) -> bool:
    """Whether `path` is no longer the open file."""
    try:
        return not os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return True


def restored(file: int, path: Path) -> int:
    """Put a copy of the open file at `path`, and return it, open and locked like the file.

    What lies there meanwhile, an older copy of the same run, is replaced.

    Raises:
        OSError: that cannot be done now, or another process is writing what lies there.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_where_written(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
    copy = os.open(draft, flags, 0o600)
    try:
        fcntl.flock(copy, fcntl.LOCK_EX | fcntl.LOCK_NB)
        at, end = 0, os.fstat(file).st_size
        while at < end:
            part = os.pread(file, min(_PART, end - at), at)
            if not part:
                raise OSError("the journal shrinks")
            at += len(part)
            while part:
                part = part[os.write(copy, part) :]
        draft.rename(path)
    except BaseException:
        os.close(copy)
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    return copy


def _refuse_where_written(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
