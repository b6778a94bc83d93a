"""Running real W&B clients against the server, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

from fixtures.processes import with_variable

from .server import Loopback
from .state import Run

AGENT = """
import wandb.wandb_agent as agents
agents.Agent.POLL_INTERVAL = 0.2  # seconds; 5 by default
from wandb.cli.cli import cli
cli(prog_name="wandb")
"""


FEW = """
import sys, wandb
with wandb.init(project="p", id="few", resume=sys.argv[1] if sys.argv[1:] else None) as run:
    for value in range(5):
        run.log({"value": value})
"""


def script(
    server: Loopback, code: str, *arguments: str, timeout: float = 300, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python code that uses `wandb`, in the current directory."""
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        env={**os.environ, **server.environment(**environment)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def look(server: Loopback, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python code that only reads through `wandb`, and leave.

    Now and then W&B's client waits at exit without end for its service, which has gone on to
    listen: so the program leaves without waiting, and the service follows by itself.
    """
    leave = "import os, sys\nsys.stdout.flush()\nos._exit(0)"
    return script(server, f"{code}\n{leave}", **environment)


def command(
    server: Loopback, *arguments: str, timeout: float = 300, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `wandb …` as a user would, but with an agent that need not wait 5 s between looks."""
    environment = {"WANDB_SILENT": "false", **environment}
    return script(server, AGENT, *arguments, timeout=timeout, **environment)


def clients_left(server: Loopback) -> list[int]:
    """Ids of living processes, other than this one, that work against the server."""
    return [
        number for number in with_variable("WANDB_BASE_URL", server.url) if number != os.getpid()
    ]


def all_gone(server: Loopback, seconds: float = 300) -> bool:
    """Whether every client is gone, or goes within so many seconds."""
    deadline = time.monotonic() + seconds
    while clients_left(server):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def values(run: Run, key: str = "value") -> list[Any]:
    """What a run's history has under `key`, in order."""
    return [row[key] for row in run.history if key in row]


#: A part of programs: kills the process that writes the run at which a block is, once all is sent.
KILL_THE_WRITER = """
import os, psutil

def kill_the_writer(tracked):
    tracked.flush()
    for process in psutil.process_iter():
        try:
            ours = "lrtrack.trackers.wandb.writer" in process.cmdline()
            if ours and process.cwd() == os.getcwd():
                process.kill()
                print("killed")
        except psutil.Error:
            pass
"""
