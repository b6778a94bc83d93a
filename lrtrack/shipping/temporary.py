"""Temporary files of deliveries: under the journal directory, whatever `TMPDIR` says.

A cluster job has a `TMPDIR` that is removed when the job ends; deliveries continue after that, and
in processes that other jobs have started.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lrtrack.journal.layout import Layout, host, private_directory
from lrtrack.shipping.lock import Lock, held

#: Seconds after which a killed process's directory is removed: one of this machine, and one of a
#: machine that may be gone, whose processes cannot be asked for.
LEFT, LEFT_ELSEWHERE = 3600.0, 86400.0
#: The names of those directories; before version 0.2 they had no token.
_NAME = re.compile(r"(?P<machine>.+)-(?P<process>\d+)(?:-t[0-9a-f]{8})?")
#: In such a directory: locked while its process lives.
_LOCK = "lock"

# Containers on one volume may have the same host name, and the same process ids.
_token = f"t{secrets.token_hex(4)}"
_used_throughout = False


def path_of(layout: Layout) -> Path:
    """Returns this process's directory for temporary files, which may be missing."""
    return layout.temporary / f"{host()}-{os.getpid()}-{_token}"


@contextmanager
def folder(layout: Layout) -> Iterator[Path]:
    """Makes a directory that exists while the block lasts.

    Raises:
        OSError: it cannot be created.
    """
    path = _made(layout)
    try:
        with tempfile.TemporaryDirectory(dir=path, prefix="delivery-") as name:
            yield Path(name)
    finally:
        if not _used_throughout:
            with contextlib.suppress(OSError):  # unless other blocks are still working in it
                path.rmdir()
                layout.temporary.rmdir()


@contextmanager
def throughout(layout: Layout) -> Iterator[None]:
    """Keeps all temporary files of this process and its children there.

    For lrtrack's own processes: the trackers' packages may write temporary files, too.
    """
    global _used_throughout
    _remove_left(layout)
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    lock = Lock(path_of(layout) / _LOCK)
    with contextlib.suppress(OSError):
        tempfile.tempdir = os.environ["TMPDIR"] = str(_made(layout))
        _used_throughout = True
        lock.acquire()
    try:
        yield
    finally:
        _used_throughout = False
        tempfile.tempdir = before[0]
        os.environ.pop("TMPDIR", None)
        if before[1] is not None:
            os.environ["TMPDIR"] = before[1]
        shutil.rmtree(path_of(layout), ignore_errors=True)
        lock.release()
        with contextlib.suppress(OSError):
            layout.temporary.rmdir()


def _made(layout: Layout) -> Path:
    private_directory(layout.temporary)
    return private_directory(path_of(layout))


def _remove_left(layout: Layout) -> None:
    """Removes what killed processes left, but nothing elsewhere that a link leads to."""
    with contextlib.suppress(OSError):
        for path in private_directory(layout.temporary).iterdir():
            named = _NAME.fullmatch(path.name)
            if named is None or path.is_symlink() or held(path / _LOCK):
                continue
            here = named["machine"] == host()
            age = time.time() - path.stat().st_mtime
            if age > (LEFT if here else LEFT_ELSEWHERE) and not (here and _lives(path, named)):
                shutil.rmtree(path, ignore_errors=True)


def _lives(path: Path, named: re.Match[str]) -> bool:
    """Returns whether the process that `path` names lives, as far as its id tells."""
    process = int(named["process"])
    if process == os.getpid():
        return path.name.endswith(_token)
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
