"""Starting the shipper: by which process, and how often."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

import lrtrack
from lrtrack.journal.layout import Layout
from lrtrack.shipping import spawn


def test_short_runs_in_a_row_start_one_shipper(
    store, living_shippers, command_line, within_seconds
) -> None:
    """A shipper that is still starting for one run is not started again for the next."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)
    for _ in range(5):
        with lrtrack.track(optimizer, tracker="mlflow", flush_timeout=0):
            optimizer.step()
    within_seconds(60, lambda: living_shippers() != [])
    started = living_shippers()
    synced = command_line("sync", MLFLOW_TRACKING_URI=store)

    assert len(started) == 1
    assert synced.returncode == 0


def test_a_shipper_that_stands_apart_holds_nothing_of_the_training(
    store, living_shippers, within_seconds, monkeypatch, clean_place
) -> None:
    """It is no child of the training, which may kill those, and keeps none of its files open."""
    monkeypatch.setattr(spawn, "_detach", True)
    monkeypatch.setattr(spawn, "children", set())
    monkeypatch.setenv("LRTRACK_SHIPPER_IDLE", "5")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)
    with (clean_place / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        with lrtrack.track(optimizer, tracker="mlflow", flush_timeout=300):
            optimizer.step()
        (shipper,) = map(psutil.Process, living_shippers())

        assert shipper.ppid() != os.getpid()
        assert file.name not in {str(Path(each.path)) for each in shipper.open_files()}
        assert spawn.children == set()
    shipper.terminate()
    within_seconds(30, lambda: not living_shippers())


WITHOUT_STREAMS = """
import os, sys
from pathlib import Path
closed = map(int, sys.argv[2])
from lrtrack.journal.layout import Layout
from lrtrack.shipping import spawn
for number in closed:
    os.close(number)
log = spawn._log_of(Layout(Path(sys.argv[1])), "key")
started = spawn._child(["/bin/sh", "-c", "echo out; echo err >&2"], os.environ, log, log)
os.waitpid(started, 0)
spawn._orphan(["/bin/sh", "-c", "echo orphan >&2"], os.environ, log)
"""


@pytest.mark.parametrize("closed", ["2", "012"])
def test_a_log_without_standard_streams(tmp_path: Path, within_seconds, closed: str) -> None:
    """What a shipper prints is in its log, whichever streams of the training are closed."""
    subprocess.run([sys.executable, "-c", WITHOUT_STREAMS, str(tmp_path), closed], check=True)
    log = Layout(tmp_path).shipper_log("key")

    within_seconds(30, lambda: log.read_text() == "out\nerr\norphan\n")
