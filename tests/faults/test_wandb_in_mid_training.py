"""What becomes of W&B runs if the server has a fault, or the machine is gone, during a training."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
from wandb_loopback import training as wandb_training

import lrtrack
from lrtrack.journal.layout import Layout

STEPS = 40
#: Trains into W&B on a machine that is cut off after 31 steps, of which 21 are uploaded.
CUT_OFF = """
import os, signal, psutil, torch, lrtrack
weight = torch.nn.Parameter(torch.ones(()))
optimizer = torch.optim.SGD([weight], lr=0.1)
run = lrtrack.start(optimizer, tracker="wandb", experiment="digits", name="left", flush_timeout=300)
for step in range(31):
    optimizer.zero_grad()
    weight.square().backward()
    optimizer.step()
    if step == 20:
        run.flush()
run.summary()  # writes all steps to the disk
for process in psutil.Process().children(recursive=True):
    process.kill()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    "how",
    [
        "hangs",
        pytest.param("answers 429", marks=pytest.mark.soak),
        pytest.param("answers 500", marks=pytest.mark.soak),
    ],
)
def test_a_wandb_server_that_comes_back_during_the_training(wandb_server, within_seconds, how):
    """The steps go on while the server has a fault, and each row is there once, without a
    message.
    """
    is_faulty, is_back, was_met = threading.Event(), threading.Event(), threading.Event()

    def trouble(method: str, path: str, body: str) -> tuple[int, dict[str, str], str] | None:
        if not is_faulty.is_set() or is_back.is_set():
            return None
        was_met.set()
        if how == "hangs":
            is_back.wait(300)
            return None
        return int(how.split()[1]), {"Retry-After": "1"}, "{}"

    def begin(run: lrtrack.TrackedRun) -> None:
        run.flush()
        is_faulty.set()

    wandb_server.fault = trouble
    at = {
        STEPS // 4: begin,
        STEPS // 2: lambda run: within_seconds(120, was_met.is_set),
        3 * STEPS // 4: lambda run: is_back.set(),  # reached while the server has its fault
    }
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            wandb_training.train(STEPS, at)
    finally:
        is_back.set()
    messages = [str(one.message) for one in caught if "lrtrack" in str(one.category)]

    assert was_met.is_set()
    assert messages == []
    wandb_training.all_there(wandb_server)
    assert wandb_server.runs(wandb_training.PLACE)[0].state == "finished"


@pytest.mark.soak
def test_a_wandb_run_of_a_machine_that_is_gone(wandb_server, clean_place: Path, within_seconds):
    """The next training on another machine uploads the rest of it once, and it is FAILED."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-u", "true"]).returncode:
        pytest.skip("this user may not give a process another host name")
    machine = ["unshare", "-u", "sh", "-c", 'hostname gone && exec "$@"', "sh"]
    cut_off = subprocess.run(
        [*machine, sys.executable, "-P", "-c", CUT_OFF],
        env={**os.environ, "TESTS_COLD_START": "1"},
        timeout=300,
    )
    layout = Layout(clean_place / ".lrtrack")
    (left,) = layout.queued()
    then = time.time() - 3600.0
    for path in layout.root.rglob("*"):
        os.utime(path, (then, then))
    wandb_training.train(name="next")
    within_seconds(120, lambda: layout.queued() == [])

    assert cut_off.returncode == -9
    runs = {run.id: run for run in wandb_server.runs(wandb_training.PLACE)}
    assert len(runs) == 2
    steps = [row["lrtrack/step"] for row in runs[left].history if "lrtrack/step" in row]
    assert steps == list(range(31))
    assert runs[left].state == "failed"
