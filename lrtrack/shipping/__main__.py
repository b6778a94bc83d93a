"""`python -m lrtrack.shipping DIRECTORY IDLE KEY`: a shipper process of a journal directory."""

from __future__ import annotations

import os

os.nice(5)  # training comes first: before all that takes time to import

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
from lrtrack.settings import claim_process, redact  # noqa: E402
from lrtrack.shipping import temporary  # noqa: E402
from lrtrack.shipping.credentials import opener  # noqa: E402
from lrtrack.shipping.lock import Lock  # noqa: E402
from lrtrack.shipping.process import Shipper  # noqa: E402
from lrtrack.trackers import registry  # noqa: E402


def main(directory: str, idle: float, key: str) -> int:
    """Ship until idle; 0 also where another shipper is at work already.

    Args:
        directory: where the journals are.
        idle: seconds without anything to do after which to leave.
        key: says which credentials this process has, and so whose runs it delivers.
    """
    layout = Layout(Path(directory).absolute())
    claim_process()
    sys.stdout = sys.stderr = Redacted(sys.stderr)
    os.chdir("/")  # no working directory of a user is kept busy
    lock = Lock(layout.shipper_lock(key))
    with temporary.throughout(layout):
        while _acquired(lock):
            shipper = Shipper(layout, registry.get, key=key, stays=lock.kept, idle=idle, log=_log)
            signal.signal(signal.SIGTERM, lambda *_: shipper.stop())  # noqa: B023 (the latest one)
            before = set(layout.queued())
            shipper.run()
            lock.remove()
            # A run may have come while the lock still said that somebody serves it.
            if not _of(layout, set(layout.queued()) - before, key):
                break
    with contextlib.suppress(OSError):
        if layout.shipper_log(key).stat().st_size == 0:
            layout.shipper_log(key).unlink()
    return 0


def _of(layout: Layout, run_ids: set[str], key: str) -> bool:
    """Whether one of the runs is this shipper's."""
    for run_id in run_ids:
        with contextlib.suppress(LRTrackError, OSError):
            if opener(layout, JournalReader(layout.journal(run_id)).run).key == key:
                return True
    return False


def _acquired(lock: Lock) -> bool:
    try:
        return lock.acquire()
    except OSError as error:  # a directory that is deleted, read-only or full: later, by another
        _log(f"cannot serve this directory: {error}")
        return False


class Redacted(io.TextIOBase):
    """Passes text on without the credentials in it, whichever library wrote them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write `text`, redacted."""
        self._stream.write(redact(text))
        return len(text)

    def flush(self) -> None:
        """Flush the stream below."""
        self._stream.flush()


def _log(line: str) -> None:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    print(f"{stamp} {clean(line)}", file=sys.stderr, flush=True)


def _let_go() -> None:
    """Close what the training process had open and did not mean for anybody else.

    Else its sockets would live as long as this process: whoever waits for them to close, as Ray
    does for its workers' ones, would not see that it is gone.
    """
    try:
        names = os.listdir("/dev/fd")  # noqa: PTH208 (while it is open itself)
    except OSError:
        return  # a place without /proc
    for name in names:
        if int(name) > 2:
            with contextlib.suppress(OSError):
                os.close(int(name))


if __name__ == "__main__":
    _let_go()
    sys.exit(main(sys.argv[1], float(sys.argv[2]), sys.argv[3]))
