"""The blocks in one open run of the user's: a small list beside the journals.

Blocks are added from several threads and processes, at the same time or years later, and each must
know those before it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lrtrack.errors import JournalError
from lrtrack.journal.descriptor import Descriptor
from lrtrack.journal.layout import Layout, host
from lrtrack.journal.reader import JournalReader

#: Seconds after which a block without a journal counts as one that never began.
COMING = 10.0


@dataclass(frozen=True)
class Member:
    """A block in an open run.

    Attributes:
        id: lrtrack's id of the block.
        head: the id of the first block in the same run of the tracker's.
        child: whether that run is a child that lrtrack opened instead of the user's own.
        seed, name: as the user gave them.
        host, pid, thread, time: who added the block to the list, and when.
    """

    id: str
    head: str
    child: bool
    seed: int | None = None
    name: str | None = None
    host: str = field(default_factory=host)
    pid: int = field(default_factory=os.getpid)
    thread: int = field(default_factory=threading.get_ident)
    time: float = field(default_factory=time.time)

    def is_open(self, layout: Layout) -> bool:
        """Whether the block is running, or about to begin."""
        if self.recorded(layout):
            with contextlib.suppress(JournalError, OSError):
                return JournalReader(layout.journal(self.id)).alive()
            return False
        me = (host(), os.getpid(), threading.get_ident())
        began_here = (self.host, self.pid, self.thread) == me  # it failed while it began
        return not began_here and abs(time.time() - self.time) < COMING

    def recorded(self, layout: Layout) -> bool:
        """Whether the block has a journal."""
        return layout.journal(self.id).exists()


class OpenRun:
    """The list of one open run, while no other thread or process can use it; see `open_run`.

    Attributes:
        members: its blocks, oldest first.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        with os.fdopen(os.dup(descriptor), "rb") as file:
            file.seek(0)
            lines = file.read().split(b"\n")
        self.members = [member for line in lines if (member := _member(line)) is not None]

    def add(self, member: Member) -> None:
        """Adds a block."""
        os.write(self._descriptor, b"\n" + json.dumps(asdict(member)).encode() + b"\n")
        self.members.append(member)


@contextmanager
def open_run(path: Path) -> Iterator[OpenRun]:
    """Opens the list at `path` for this thread alone, and creates it if it is missing.

    Raises:
        OSError: it cannot be written.
    """
    file = Descriptor(path)
    try:
        fcntl.flock(file.number, fcntl.LOCK_EX)
        yield OpenRun(file.number)
    finally:
        file.close()


_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("id", "head", "host"), (str,)),
    **dict.fromkeys(("pid", "thread"), (int,)),
    "child": (bool,),
    "seed": (int, type(None)),
    "name": (str, type(None)),
    "time": (int, float),
}


def _member(line: bytes) -> Member | None:
    """Decodes a line; None if it is no block, such as the torn line of a killed process."""
    try:
        data: Any = json.loads(line)
        if not all(isinstance(data[name], kinds) for name, kinds in _KINDS.items()):
            return None
        member = Member(**{name: data[name] for name in _KINDS})
        for run_id in (member.id, member.head):
            Layout(Path()).journal(run_id)  # only lrtrack's own ids become file names
    except (JournalError, KeyError, RecursionError, TypeError, ValueError):
        return None
    return member
