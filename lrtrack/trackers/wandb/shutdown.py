"""Letting go of W&B's service in time.

W&B's client starts a process, its service, and waits for it when Python ends, however long that
takes. Now and then the service misses the word to leave (wandb 0.31: one of about fifty programs
that only read) and the program never ends.
"""

from __future__ import annotations

import contextlib
import subprocess
from typing import Any

from lrtrack._optional import load

#: Seconds that a service has to leave by itself; it takes well under one.
PATIENCE = 10.0


def bound(*, started: bool = False) -> None:
    """See to it that W&B's service is not waited for without end when this process ends.

    A service that runs already is the user's and stays as it is, unless `started` says that it
    is lrtrack's own. Where W&B's insides are not as expected, nothing changes.
    """
    with contextlib.suppress(Exception):
        setup = load("wandb.sdk.wandb_setup").singleton()
        if setup._connection is not None and not started:
            return
        connection = setup.ensure_service()
        if connection._proc is not None and not isinstance(connection._proc, _Service):
            connection._proc = _Service(connection._proc, connection._proc._process)


class _Service:
    """W&B's handle on its service, whose `join` ends."""

    def __init__(self, handle: Any, process: subprocess.Popen[bytes]) -> None:
        self._handle = handle
        self._process = process

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)

    def join(self) -> int:
        """Wait until the service has ended, and end it if that takes too long."""
        if load("wandb").run is not None:  # a run of the user's, which may still be uploading
            return int(self._process.wait())
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return 0
