"""The pipes on which a process that works with W&B gets commands and answers them."""

from __future__ import annotations

import fcntl
import json
import os
import queue
import sys
import threading
from typing import Any, TextIO


def take_output() -> TextIO:
    """Takes standard output for replies, and lets what W&B prints go to standard error instead.

    If standard error is closed, its number is the lowest free one, and the replies must not get it.
    """
    replies = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
    if sys.stderr is None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        sys.stderr = os.fdopen(2, "w", closefd=False)
    os.dup2(2, 1)
    return os.fdopen(replies, "w", encoding="utf-8")


def read_commands() -> queue.Queue[dict[str, Any]]:
    """Returns commands as they arrive on standard input; the process exits when it is closed."""
    commands: queue.Queue[dict[str, Any]] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            commands.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return commands
