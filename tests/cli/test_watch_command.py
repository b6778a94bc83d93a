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
from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State

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


def test_once(clean_place, lrtrack):
    """With `--once`, the running trainings are printed, and the command ends."""
    layout = Layout(clean_place / ".lrtrack")
    layout.create()
    run = Run("1" * 32, "going", experiment="x", total_steps=40)
    writer = JournalWriter(layout.journal(run.id), run)
    for step in range(11):
        writer.append(step, 100.0 + step / 4, {"loss": 1.0 / (step + 1), "lr": 0.1})
    writer.flush()
    shown = lrtrack("watch", "x", "--once", "--tracker", "local")
    other = lrtrack("watch", "y", "--once", "--tracker", "local")
    writer.close(State.FINISHED)

    assert (shown.exit_code, shown.stdout.splitlines()[0]) == (
        0,
        "going: constant, step 10 of 40 (27 %), lr 0.1, loss 0.09091",
    )
    assert (other.exit_code, other.stderr) == (1, "Error: No training is running.\n")


def test_once_with_a_tracker_that_is_down(clean_place, lrtrack, monkeypatch):
    """Why a tracker cannot be read is said beside the trainings of this machine."""
    layout = Layout(clean_place / ".lrtrack")
    layout.create()
    writer = JournalWriter(layout.journal("1" * 32), Run("1" * 32, "going", experiment="x"))
    shown = lrtrack("watch", "x", "--once", "--tracking-uri", "http://127.0.0.1:9")
    writer.close(State.FINISHED)

    assert (shown.exit_code, shown.stdout) == (0, "going: constant, no step yet\n")
    assert shown.stderr == (
        "Warning: MLflow at http://127.0.0.1:9: cannot be reached (Connection refused)\n"
    )
