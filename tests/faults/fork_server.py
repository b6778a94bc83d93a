"""Trainings that start fast: one process that has loaded torch forks one for each.

Reads from stdin, a line each: `train NAME PAUSE ENDING STEPS` starts one and prints its process id
when it is past its first step; `wait PID` prints its exit status as `subprocess` has it. A training
keeps the number of its steps in the file `steps-NAME`, and ends its loop when there is `stop-NAME`.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
from pathlib import Path

import torch  # noqa: F401 (before the forks)
import trainer

import lrtrack.tracking  # noqa: F401


def train(name: str, pause: float, ending: str, steps: int) -> int:
    """Fork a training; its process id, once it has made a step."""
    ready, begun = os.pipe()
    child = os.fork()
    if child:
        os.close(begun)
        os.read(ready, 1)
        os.close(ready)
        return child
    # whatever whoever started the tests has switched off, as `nohup` does
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)
    sys.stdin.close()
    sys.stdout = sys.stderr
    progress = os.open(f"steps-{name}", os.O_RDWR | os.O_CREAT, 0o600)
    stop = Path(f"stop-{name}")

    def told(step: int) -> bool:
        os.pwrite(progress, struct.pack("<q", step + 1), 0)
        if step == 0:
            os.write(begun, b".")
        return step % 20 > 0 or not stop.exists()

    trainer.main(steps, pause, ending, name, told)
    sys.exit(0)


def ended(child: int) -> int:
    """Wait for a training; its exit status, negative where a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    for line in sys.stdin:
        word, first, *rest = line.split()
        if word == "train":
            pause, ending, steps = rest
            print(train(first, float(pause), ending, int(steps)), flush=True)
        else:
            print(ended(int(first)), flush=True)
