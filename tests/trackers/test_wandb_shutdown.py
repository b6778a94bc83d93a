"""A program that has read from W&B ends, whatever W&B's service does."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

READ = """
import os, signal, sys
import lrtrack
from lrtrack.trackers.wandb import shutdown
from wandb.sdk import wandb_setup
shutdown.TIMEOUT = 0.5
try:
    lrtrack.compare("nowhere", tracker="wandb")
except lrtrack.LRTrackError as error:
    print(error)
service = wandb_setup.singleton()._connection._proc._process.pid
print(service)
if "deaf" in sys.argv:
    os.kill(service, signal.SIGSTOP)
sys.exit(7)
"""


def read(*arguments: str) -> tuple[int, str, int]:
    """Exit status, what was said, and the id of W&B's service, of a program that reads."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", READ, *arguments], capture_output=True, text=True, timeout=300
    )
    said, service = done.stdout.splitlines()
    return done.returncode, said, int(service)


def alive(process: int) -> bool:
    """Whether a process has not ended."""
    return subprocess.run(["ps", "-p", str(process)], capture_output=True).returncode == 0


def test_a_service_that_never_leaves(wandb_server: Any) -> None:
    """A service that is deaf is ended, and the program keeps its exit status."""
    status, said, service = read("deaf")

    assert status == 7
    assert said.startswith("Unknown project 'nowhere'")
    assert not alive(service)


def test_a_service_that_leaves(wandb_server: Any) -> None:
    """A service that leaves by itself is waited for."""
    status, _, service = read()

    assert status == 7
    assert not alive(service)
