"""`torchrun` and `accelerate launch`, as typed into a shell, with a script in two processes.

Each launcher takes seconds, because it and both processes import torch from scratch, as a user's
do.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lrtrack.records import State

SCRIPT = Path(__file__).with_name("launched.py")
LAUNCHERS = {
    "torchrun": ["torchrun", "--standalone", "--local-addr=127.0.0.1", "--nproc-per-node=2"],
    # `accelerate launch`, whose other subcommands import timm, which the tests have without what it
    # needs. The option's name says GPUs; without any, the processes find themselves on the CPU.
    "accelerate": [
        *("accelerate-launch", "--multi_gpu", "--num_machines=1", "--num_processes=2"),
        *("--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0"),
    ],
}


def norm_of_mean(gradients: list[list[float]]) -> float:
    """Returns the L2 norm of the mean of the processes' gradients."""
    means = [sum(parts) / len(parts) for parts in zip(*gradients, strict=True)]
    return math.sqrt(sum(mean**2 for mean in means))


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_two_processes_of_a_launcher(launcher: str, local, clean_place, monkeypatch) -> None:
    """Two processes give one run: the rates and losses of rank 0, and the norms of the gradients
    that DDP has averaged over both.
    """
    monkeypatch.setenv("LRTRACK_TRACKER", "local")
    monkeypatch.setenv("HF_HOME", str(clean_place / "home"))
    shutil.copy(SCRIPT, clean_place / "train.py")
    program, *options = LAUNCHERS[launcher]
    command = [str(Path(sys.executable).with_name(program)), *options, "train.py", launcher]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)

    assert process.returncode == 0, process.stderr
    noted: list[dict[str, Any]] = [
        json.loads((clean_place / f"{rank}.json").read_text()) for rank in range(2)
    ]
    (history,) = local()
    steps = [each["steps"] for each in noted]
    norms = [norm_of_mean([row["gradient"] for row in rows]) for rows in zip(*steps, strict=True)]

    assert [
        {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"} for rank in range(2)
    ] == [each["environment"] for each in noted]
    assert (launcher, 2, State.FINISHED) == (
        *(history.run.name, history.run.world_size),
        history.state,
    )
    assert list(range(5)) == history.steps.tolist()
    for metric in ("lr", "loss"):
        assert [row[metric] for row in steps[0]] == history.metrics[metric].tolist()
    assert pytest.approx(norms, rel=1e-6) == history.metrics["grad_norm"].tolist()
    assert (steps[0] != steps[1], ()) == (True, history.run.diagnoses)
