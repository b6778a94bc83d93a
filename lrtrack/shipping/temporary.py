"""Temporary files of deliveries: under the journal directory, whatever `TMPDIR` says.

A cluster job has a `TMPDIR` that is removed when the job ends; deliveries continue after that, and
in processes that other jobs have started.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lrtrack.journal.layout import Layout, host

#: Seconds after which a killed process's directory is removed.
LEFT = 3600.0

_used_throughout = False


def path_of(layout: Layout) -> Path:
    """Returns this process's directory for temporary files, which may be missing."""
    return layout.temporary / f"{host()}-{os.getpid()}"


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
    with contextlib.suppress(OSError):
        tempfile.tempdir = os.environ["TMPDIR"] = str(_made(layout))
        _used_throughout = True
    try:
        yield
    finally:
        _used_throughout = False
        tempfile.tempdir = before[0]
        os.environ.pop("TMPDIR", None)
        if before[1] is not None:
            os.environ["TMPDIR"] = before[1]
        shutil.rmtree(path_of(layout), ignore_errors=True)
        with contextlib.suppress(OSError):
            layout.temporary.rmdir()


def _made(layout: Layout) -> Path:
    path = path_of(layout)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _remove_left(layout: Layout) -> None:
    """Removes what killed processes of this machine left."""
    with contextlib.suppress(OSError):
        for path in layout.temporary.iterdir():
            machine, _, process = path.name.rpartition("-")
            old = time.time() - path.stat().st_mtime > LEFT
            if old and machine == host() and process.isdecimal() and not _lives(int(process)):
                shutil.rmtree(path, ignore_errors=True)


def _lives(process: int) -> bool:
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
