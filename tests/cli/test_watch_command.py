"""`lrtrack watch`: on a terminal, in a pipe, and with a tracker."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import lrtrack

from ..fixtures.isolation import PATIENCE

COMMAND = [sys.executable, "-P", "-c", "from lrtrack.cli import main; main()", "watch"]

#: Trains until a file appears, and then ends.
TRAINING = """
import sys, time, torch, lrtrack
from pathlib import Path
weight = torch.nn.Parameter(torch.ones(3))
optimizer = torch.optim.SGD([weight], lr=0.01)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
with lrtrack.track(optimizer, scheduler, tracker=sys.argv[1], experiment="x", name="one"):
    while not Path("enough").exists():
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
        scheduler.step()
        print("step", flush=True)
        time.sleep(0.01)
"""


@pytest.fixture
def train(clean_place: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts a training that runs until the file `enough` appears."""
    started = []

    def start(tracker: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", "-W", "ignore", "-c", TRAINING, tracker]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    yield start
    (clean_place / "enough").touch()
    for process in started:
        process.communicate(timeout=PATIENCE)


def plain(data: bytes) -> str:
    """What a terminal shows, without colours and movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data.decode(errors="replace"))


def until(terminal: int, text: str, output: bytes = b"") -> bytes:
    """Read from a terminal until it has shown a text."""
    deadline = time.monotonic() + PATIENCE
    while text not in plain(output):
        assert time.monotonic() < deadline, plain(output)[-2000:]
        if select.select([terminal], [], [], 0.1)[0]:
            output += os.read(terminal, 65536)
    return output


def test_one_line_for_each_change_in_a_pipe(train, clean_place) -> None:
    """A pipe gets the run, its diagnosis and its end, and then the command ends by itself."""
    train("local")
    options = ["--tracker", "local", "--interval", "0.1", "x"]
    process = subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    while not lines[-1].startswith("one: LR003: "):
        assert lines[-1]
        lines.append(process.stdout.readline())
    (clean_place / "enough").touch()
    rest, _ = process.communicate(timeout=PATIENCE)

    assert re.fullmatch(r"one: CosineAnnealingLR\(.*\), (step \d+|no step yet)\n", lines[0])
    assert re.fullmatch(r"one: finished at step \d+, lr \S+, loss \S+", rest.splitlines()[-1])
    assert process.returncode == 0


def test_nothing_to_watch(clean_place) -> None:
    """Without a running training, a pipe gets one line on stderr and the exit status 1."""
    process = subprocess.run(
        [*COMMAND, "--tracker", "local"], capture_output=True, text=True, timeout=PATIENCE
    )

    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr == "Error: No training is running.\n"


def test_keys_on_a_terminal(train, clean_place) -> None:
    """On a terminal, m shows the next metric and q quits and restores the terminal."""
    train("local")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(theirs)
    environment = {**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    process = subprocess.Popen(
        [*COMMAND, "--tracker", "local", "x"],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
    )  # fmt: skip
    try:
        output = until(ours, "q quit   m next metric", until(ours, "! LR003: "))
        os.write(ours, b"m")
        until(ours, "grad_norm ")
        os.write(ours, b"q")
        until(ours, "", output)
        status = process.wait(timeout=PATIENCE)
        after = termios.tcgetattr(theirs)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)

    assert "lrtrack watch: 1 running" in plain(output)
    assert "q quit   m next metric" in plain(output)
    assert (status, after) == (0, before)


def test_a_run_of_another_machine(store, monkeypatch, tmp_path) -> None:
    """A run that has no journal here is read from its tracker."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("LRTRACK_DIR", str(tmp_path / "elsewhere"))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(3))], lr=0.01)
    run = lrtrack.start(optimizer, tracker="mlflow", experiment="x", name="far", total_steps=50)
    for _ in range(5):
        optimizer.param_groups[0]["params"][0].square().sum().backward()
        optimizer.step()
    run.flush()
    environment = {**os.environ, "LRTRACK_DIR": str(tmp_path / "here")}
    process = subprocess.Popen(
        [*COMMAND, "--tracker", "mlflow", "x"], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    process.terminate()
    process.communicate(timeout=PATIENCE)
    run.end()

    assert re.fullmatch(r"far: constant\S*, step [34] of 50 \(\d+ %\)\n", line)
