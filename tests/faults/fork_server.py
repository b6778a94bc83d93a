"""Starts trainings quickly: one process that has loaded torch forks a child for each.

Reads commands from stdin, one a line: `train NAME PAUSE ENDING STEPS` starts a training and prints
its process id after its first step; `wait PID` prints its exit status as `subprocess` reports it. A
training writes its number of steps to the file `steps-NAME`, and ends when `stop-NAME` exists.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import sys
from pathlib import Path

import torch  # noqa: F401 (before the forks)
import trainer

import lrtrack.tracking  # noqa: F401

# torch loads it at the end of a process, if it is installed. Python then forgets that Ctrl-C ended
# the program, because the module makes named tuples, and exits with status 1.
with contextlib.suppress(ImportError):
    import tabulate  # noqa: F401


def train(name: str, pause: float, ending: str, steps: int) -> int:
    """Forks a training and returns its process id once it has made a step."""
    ready, started = os.pipe()
    child = os.fork()
    if child:
        os.close(started)
        os.read(ready, 1)
        os.close(ready)
        return child
    # in case the program that runs the tests has switched signals off, as `nohup` does
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    sys.stdin.close()
    sys.stdout = sys.stderr
    progress = os.open(f"steps-{name}", os.O_RDWR | os.O_CREAT, 0o600)
    stop = Path(f"stop-{name}")

    def told(step: int) -> bool:
        os.pwrite(progress, struct.pack("<q", step + 1), 0)
        if step == 0:
            os.write(started, b".")
        return step % 20 > 0 or not stop.exists()

    trainer.main(steps, pause, ending, name, told)
    sys.exit(0)


def ended(child: int) -> int:
    """Waits for a training and returns its exit status, negative if a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    for line in sys.stdin:
        word, first, *rest = line.split()
        if word == "train":
            pause, ending, steps = rest
            print(train(first, float(pause), ending, int(steps)), flush=True)
        else:
            print(ended(int(first)), flush=True)
