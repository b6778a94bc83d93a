"""A limit on the wait for W&B's service when Python ends.

W&B's client starts a service process, and waits for it without limit when Python ends. Now and then
the service misses the request to stop (wandb 0.31: in about one of fifty programs that only read),
and the program never ends.
"""

from __future__ import annotations

import contextlib
import subprocess
from typing import Any

from lrtrack._optional import load

#: Seconds that a service has to end by itself; it usually takes well under one.
TIMEOUT = 10.0


def limit_wait(*, started: bool = False) -> None:
    """Limit the wait for W&B's service when this process ends.

    Nothing changes for a version of W&B with other internals.

    Args:
        started: whether lrtrack itself started a service that already runs. Any other running
            service is the user's, and does not change.
    """
    with contextlib.suppress(Exception):
        setup = load("wandb.sdk.wandb_setup").singleton()
        if setup._connection is not None and not started:
            return
        connection = setup.ensure_service()
        if connection._proc is not None and not isinstance(connection._proc, _Service):
            connection._proc = _Service(connection._proc, connection._proc._process)


class _Service:
    """W&B's handle on its service, with a limit on `join`."""

    def __init__(self, handle: Any, process: subprocess.Popen[bytes]) -> None:
        self._handle = handle
        self._process = process

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)

    def join(self) -> int:
        """Wait until the service ends, and kill it after `TIMEOUT` seconds."""
        if load("wandb").run is not None:  # the user's run may still be uploading
            return int(self._process.wait())
        try:
            return self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return 0
