"""The service process that W&B's client starts beside a process to hold its open runs."""

from __future__ import annotations

import re
import socket

# The format of WANDB_SERVICE in wandb 0.31.
_TOKEN = re.compile(r"\d+-\d+-(?:unix-(?P<path>.+)|tcp-localhost-(?P<port>\d+))")
#: Seconds to wait for a connection on this machine.
_TIMEOUT = 2.0


def is_running(token: str) -> bool:
    """Whether the service that `token`, the value of `WANDB_SERVICE`, names still runs."""
    if not token:
        return False
    match = _TOKEN.fullmatch(token)
    if match is None:
        return True  # another version of wandb: the attempt to attach will show it
    address = match["path"] or ("localhost", int(match["port"]))
    family = socket.AF_UNIX if match["path"] else socket.AF_INET
    try:
        with socket.socket(family) as connection:
            connection.settimeout(_TIMEOUT)
            connection.connect(address)
    except (OSError, OverflowError, ValueError):
        return False
    return True
