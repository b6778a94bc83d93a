"""Processes that test one mutant, with a limit to their processor time."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: How far a process that tests a mutant makes way for others.
NICENESS = 15
#: Seconds of wall time for a second of processor time, on a machine that does other things, too.
_WAITING = 60.0


class Fork:
    """A copy of this process that runs a function, and what came of it."""

    def __init__(self, work: Callable[[], Any], seconds: float, nice: bool = True) -> None:
        """Starts the copy.

        Args:
            work: What it does; the result must be JSON.
            seconds: The limit to its processor time.
            nice: Whether it makes way for other processes.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="mutation-"))
        self._deadline = time.monotonic() + max(120.0, _WAITING * seconds)
        self.pid = os.fork()
        if self.pid == 0:
            self._run(work, seconds, nice)

    def _run(self, work: Callable[[], Any], seconds: float, nice: bool) -> None:
        status = 70
        try:
            os.setpgid(0, 0)
            if nice:
                os.nice(NICENESS - os.nice(0))
            used = resource.getrusage(resource.RUSAGE_SELF)
            limit = int(used.ru_utime + used.ru_stime + seconds) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 2))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            log = os.open(self._folder / "log", os.O_WRONLY | os.O_CREAT)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.environ["PYTEST_DEBUG_TEMPROOT"] = str(self._folder)
            (self._folder / "result").write_text(json.dumps(work()), encoding="utf-8")
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def poll(self) -> bool:
        """Returns whether the copy has ended; ends it if its time is over."""
        pid, _ = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0 and time.monotonic() > self._deadline:
            os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            return True
        return pid != 0

    def result(self) -> Any:
        """Returns what the function returned; None if the copy did not get that far."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # what a test has left behind
        file = self._folder / "result"
        result = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        if not result and os.environ.get("MUTATION_LOG"):
            print((self._folder / "log").read_text(encoding="utf-8", errors="replace")[-4000:])
        shutil.rmtree(self._folder, ignore_errors=True)
        return result


def in_fork(work: Callable[[], Any], seconds: float, nice: bool = True) -> Any:
    """Runs a function in a copy of this process, and returns its result, or None if it failed."""
    fork = Fork(work, seconds, nice)
    while not fork.poll():
        time.sleep(0.01)
    return fork.result()
