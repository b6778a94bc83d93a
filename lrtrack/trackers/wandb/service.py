"""The service that W&B's client keeps beside a process, which holds the runs open there."""

from __future__ import annotations

import re
import socket

# As wandb 0.31 writes WANDB_SERVICE.
_TOKEN = re.compile(r"\d+-\d+-(?:unix-(?P<path>.+)|tcp-localhost-(?P<port>\d+))")
#: Seconds that a connection on this machine may take.
_PATIENCE = 2.0


def answers(token: str) -> bool:
    """Whether the service that `token` (the value of `WANDB_SERVICE`) names still runs."""
    if not token:
        return False
    match = _TOKEN.fullmatch(token)
    if match is None:
        return True  # another version of wandb: attaching to it will show
    address = match["path"] or ("localhost", int(match["port"]))
    family = socket.AF_UNIX if match["path"] else socket.AF_INET
    try:
        with socket.socket(family) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(address)
    except (OSError, OverflowError, ValueError):
        return False
    return True
