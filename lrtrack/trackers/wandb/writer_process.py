"""The processes that hold W&B runs, from the sink's side: each holds one run at a time.

Starting one takes seconds, for importing wandb and starting its service. One that has ended a run
of lrtrack's own therefore waits a while for the next run with the same environment and directory,
as the second block of a program has it.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

#: Seconds for which a process without a run is kept for the next one. `writer.py` ends itself a
#: little later, so that a process that is taken here has not ended just now.
KEPT = 4.0
#: Runs that one process holds, one after the other: what W&B's client keeps of each would add up.
RUNS = 50


class WriterProcess:
    """One such process.

    Args:
        environment: its environment.
        cwd: its working directory; None: this process's.
    """

    def __init__(self, environment: Mapping[str, str], cwd: str | None) -> None:
        self.key = (dict(environment), cwd)
        self.runs = 1
        #: Its replies, a line each, and "" at its end.
        self.replies: queue.Queue[str] = queue.Queue()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "lrtrack.trackers.wandb.writer"],
            env=environment,
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        threading.Thread(target=self._read, name="lrtrack-wandb", daemon=True).start()

    def send(self, command: Mapping[str, Any]) -> None:
        """Send a command.

        Raises:
            OSError, ValueError: the process has ended, or was ended.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """End the process, whatever it does, and wait for its end."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()

    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self._process.poll() is not None

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as replies:
            for line in replies:
                self.replies.put(line)
        self.replies.put("")
        self._process.wait()  # one that has ended by itself stays no zombie


_guard = threading.Lock()
#: Processes without a run, and since when.
_idle: list[tuple[WriterProcess, float]] = []


def take(environment: Mapping[str, str], cwd: str | None) -> WriterProcess:
    """Return a process for one run: one that was kept for such a run, else a new one."""
    with _guard:
        _forget_old()
        for at, (process, _) in enumerate(_idle):
            if process.key == (dict(environment), cwd):
                del _idle[at]
                process.runs += 1
                return process
    return WriterProcess(environment, cwd)


def keep(process: WriterProcess) -> None:
    """Keep a process that has ended its run for the next one, or end it after many runs."""
    if process.runs >= RUNS:
        process.end()
        return
    with _guard:
        _forget_old()
        _idle.append((process, time.monotonic()))


def end_idle() -> None:
    """End all processes that wait for another run."""
    with _guard:
        processes = [process for process, _ in _idle]
        _idle.clear()
    for process in processes:
        process.end()


def _forget_old() -> None:
    """Leave out processes that end by themselves now."""
    oldest = time.monotonic() - KEPT
    _idle[:] = [(p, since) for p, since in _idle if since > oldest and not p.has_ended()]
