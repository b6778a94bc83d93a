"""The pipe on which a process that works with W&B answers; what W&B prints goes elsewhere."""

from __future__ import annotations

import fcntl
import os
import sys
from typing import TextIO


def take_output() -> TextIO:
    """Takes standard output for replies, and lets what is printed go to standard error instead.

    If standard error is closed, its number is the lowest free one, and the replies must not get it.
    """
    replies = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
    if sys.stderr is None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        sys.stderr = os.fdopen(2, "w", closefd=False)
    os.dup2(2, 1)
    return os.fdopen(replies, "w", encoding="utf-8")
