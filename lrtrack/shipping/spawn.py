"""Starts shipper processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from lrtrack.journal.layout import Layout
from lrtrack.shipping.credentials import Snapshot

#: Seconds after which an idle shipper exits, unless the environment variable sets another time.
IDLE = 5.0
IDLE_VARIABLE = "LRTRACK_SHIPPER_IDLE"
#: Bytes after which a shipper's log is started anew, and seconds after which a log is deleted.
LOG_SIZE, LOG_AGE = 2**20, 30 * 86400.0

children: set[int] = set()
#: Process ids of shippers that are not children of this process.
orphans: set[int] = set()
_detach = False
#: A shell that starts a command in the background, prints its process id and exits.
_DETACHED = ("/bin/sh", "-c", '"$@" >&2 & echo $!', "sh")
#: When each shipper was started that has not taken its lock yet, by that lock.
starting: dict[Path, float] = {}


def launch(layout: Layout, snapshot: Snapshot) -> bool:
    """Starts a shipper process and returns whether that worked, as far as can be seen immediately.

    It has its own session, so that neither Ctrl-C nor closing the training's terminal ends it, and
    it writes to the log beside the journals.

    Args:
        layout: the journal directory.
        snapshot: its environment, and the credentials whose runs it serves.
    """
    idle = os.environ.get(IDLE_VARIABLE, str(IDLE))
    # -P: the working directory must not be searched for modules.
    command = [sys.executable, "-P", "-m", "lrtrack.shipping", str(layout.root), idle, snapshot.key]
    environment = {**snapshot.variables, "CUDA_VISIBLE_DEVICES": ""}
    log = _log_of(layout, snapshot.key)
    try:
        if _detach:
            orphans.add(_orphan(command, environment, log))
        else:
            children.add(_child(command, environment, log, log))
    except (OSError, ValueError, NotImplementedError):
        return False
    finally:
        os.close(log)
    return True


def detach_shippers() -> None:
    """Starts later shippers as no children of this process.

    For processes whose children are killed when they exit, such as Ray's workers.
    """
    global _detach
    _detach = True


def _child(command: list[str], environment: Mapping[str, str], out: int, log: int) -> int:
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, out, 1),
        (os.POSIX_SPAWN_DUP2, log, 2),
    ]
    return os.posix_spawn(command[0], command, environment, file_actions=files, setsid=True)


def _orphan(command: list[str], environment: Mapping[str, str], log: int) -> int:
    """Starts a process whose parent exits immediately, and returns its id."""
    output, input_ = map(_above_streams, os.pipe())
    try:
        shell = _child([*_DETACHED, *command], environment, input_, log)
    finally:
        os.close(input_)
    with os.fdopen(output) as answer:
        process_id = int(answer.read())
    with contextlib.suppress(ChildProcessError):
        os.waitpid(shell, 0)
    return process_id


def _log_of(layout: Layout, key: str) -> int:
    """Opens the shipper's log, or the null device if the directory takes no file."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    path = layout.shipper_log(key)
    try:
        for log in layout.shipper_logs():
            status = log.stat()
            old = time.time() - status.st_mtime > LOG_AGE
            if old or (log == path and status.st_size > LOG_SIZE):
                log.unlink()
        return _above_streams(os.open(path, flags, 0o600))
    except OSError:
        return _above_streams(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC))


def _above_streams(number: int) -> int:
    """Moves a descriptor that has the number of a closed standard stream, which a child replaces.

    Raises:
        OSError: there are too many open files.
    """
    if number > 2:
        return number
    try:
        return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(number)


def reap() -> None:
    """Collects shipper processes of this process that have ended."""
    for child in list(children):
        try:
            ended, _ = os.waitpid(child, os.WNOHANG)
        except ChildProcessError:  # other code waited for it, or this is a forked child
            ended = child
        if ended:
            children.discard(child)
    for orphan in list(orphans):
        try:
            os.kill(orphan, 0)
        except OSError:
            orphans.discard(orphan)
