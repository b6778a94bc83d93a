"""A program that reads from W&B ends, even if W&B's service does not."""

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
if "stopped" in sys.argv:
    os.kill(service, signal.SIGSTOP)
sys.exit(7)
"""


def read(*arguments: str) -> tuple[int, str, int]:
    """Run a program that reads from W&B; return exit status, output and its service's id."""
    process = subprocess.run(
        [sys.executable, "-P", "-c", READ, *arguments], capture_output=True, text=True, timeout=300
    )
    output, service = process.stdout.splitlines()
    return process.returncode, output, int(service)


def alive(process: int) -> bool:
    """Whether a process still runs."""
    return subprocess.run(["ps", "-p", str(process)], capture_output=True).returncode == 0


def test_a_service_that_never_stops(wandb_server: Any) -> None:
    """A service that ignores the request to stop is killed, and the exit status stays."""
    status, output, service = read("stopped")

    assert status == 7
    assert output.startswith("Unknown project 'nowhere'")
    assert not alive(service)


def test_a_service_that_stops(wandb_server: Any) -> None:
    """A service that stops by itself is waited for."""
    status, _, service = read()

    assert status == 7
    assert not alive(service)
