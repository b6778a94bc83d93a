"""`python -m lrtrack.shipping DIRECTORY IDLE KEY`: the shipper process of a journal directory."""

from __future__ import annotations

import os

os.nice(5)  # before the slow imports, because training comes first

import contextlib  # noqa: E402
import io  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TextIO  # noqa: E402

from lrtrack.errors import LRTrackError, clean  # noqa: E402
from lrtrack.journal.layout import Layout  # noqa: E402
from lrtrack.journal.reader import JournalReader  # noqa: E402
from lrtrack.redaction import redact  # noqa: E402
from lrtrack.settings import claim_process  # noqa: E402
from lrtrack.shipping import temporary  # noqa: E402
from lrtrack.shipping.credentials import opener  # noqa: E402
from lrtrack.shipping.lock import Lock  # noqa: E402
from lrtrack.shipping.process import Shipper  # noqa: E402
from lrtrack.trackers import registry  # noqa: E402
from lrtrack.user_state import ensure_home  # noqa: E402


def main(directory: str, idle: float, key: str) -> int:
    """Delivers until idle; returns 0, also if another shipper is already running.

    Args:
        directory: where the journals are.
        idle: seconds without work after which to exit.
        key: the name of this process's credentials, which decides whose runs it delivers.
    """
    layout = Layout(Path(directory).absolute())
    claim_process()
    ensure_home()
    sys.stdout = sys.stderr = Redacted(sys.stderr)
    os.chdir("/")  # so that no directory of the user is kept busy
    lock = Lock(layout.shipper_lock(key))
    with temporary.throughout(layout):
        while _acquired(lock):
            shipper = Shipper(layout, registry.get, key=key, stays=lock.kept, idle=idle, log=_log)
            signal.signal(signal.SIGTERM, lambda *_: shipper.stop())  # noqa: B023 (the latest one)
            before = set(layout.queued())
            shipper.run()
            lock.remove()
            # A run may have been queued while the lock still said that a shipper was running.
            if not _of(layout, set(layout.queued()) - before, key):
                break
    with contextlib.suppress(OSError):
        if layout.shipper_log(key).stat().st_size == 0:
            layout.shipper_log(key).unlink()
    return 0


def _of(layout: Layout, run_ids: set[str], key: str) -> bool:
    """Returns whether one of the runs belongs to this shipper."""
    for run_id in run_ids:
        with contextlib.suppress(LRTrackError, OSError):
            if opener(layout, JournalReader(layout.journal(run_id)).run).key == key:
                return True
    return False


def _acquired(lock: Lock) -> bool:
    try:
        return lock.acquire()
    except (
        OSError
    ) as error:  # the directory is deleted, read-only or full; another shipper will do it later
        _log(f"cannot serve this directory: {error}")
        return False


class Redacted(io.TextIOBase):
    """A text stream that removes credentials from everything written to it, whoever writes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes `text` without credentials."""
        self._stream.write(redact(text))
        return len(text)

    def flush(self) -> None:
        """Flushes the stream below."""
        self._stream.flush()


def _log(line: str) -> None:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    print(f"{stamp} {clean(line)}", file=sys.stderr, flush=True)


def _let_go() -> None:
    """Closes files that the training process had open and did not mean to pass on.

    Otherwise its sockets would live as long as this process, and a program that waits for them to
    close, as Ray does with its workers, would not notice that the worker is gone.
    """
    try:
        names = os.listdir("/dev/fd")  # noqa: PTH208 (while it is open itself)
    except OSError:
        return  # a system without /proc
    for name in names:
        if int(name) > 2:
            with contextlib.suppress(OSError):
                os.close(int(name))


if __name__ == "__main__":
    _let_go()
    sys.exit(main(sys.argv[1], float(sys.argv[2]), sys.argv[3]))
