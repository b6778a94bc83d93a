"""Checks that W&B's server has what its client was given: the client drops things silently."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

#: Checks for an uploaded file, and seconds between them: W&B may list it a little later.
CHECKS, PAUSE = 3, 1.0


def has_file(fetch_run: Callable[[], Any], name: str) -> bool:
    """Whether W&B has the file: its client drops failed uploads without an error."""
    for _ in range(CHECKS):
        try:
            file = next(iter(fetch_run().files([name])), None)
        except Exception as error:  # the run has ended, so this is no reason to fail
            print(f"cannot check for {name}: {error}", file=sys.stderr)
            return True
        if file is not None and file.size:
            return True
        time.sleep(PAUSE)
    return False


def check_last_row(fetch_run: Callable[[], Any], run_id: str, last: int) -> None:
    """Check that W&B has the run's last row: its client drops rows without an error.

    Raises:
        ConnectionError: it has not.
    """
    stored = fetch_run().lastHistoryStep
    if stored < last:
        raise ConnectionError(f"run {run_id} has rows up to {stored} of {last}")
