"""Situations that need processes of their own, with what their loops measured as the truth."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fixtures.programs import EXIT_WITHOUT_SHUTDOWN

from lrtrack.records import State

#: A training that measures what its steps use, of which each program below makes some.
TRAINING = """
import json, os, pathlib, signal, socket, sys, torch
from accelerate import Accelerator, DataLoaderConfiguration, notebook_launcher
from accelerate.local_sgd import LocalSGD
from lrtrack.integrations.accelerate import LRTrack

def train(name, *, split=False, local=False, load=None, each=lambda *_: None, **options):
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    rows = [(torch.randn(4) * at, torch.tensor(at % 3)) for at in range(8 * 12)]
    accelerator = Accelerator(
        cpu=True, log_with=LRTrack(tracker="local", name=name), **options,
        dataloader_config=DataLoaderConfiguration(split_batches=split),
    )
    loader = torch.utils.data.DataLoader(rows, 8 if split else 8 // accelerator.num_processes)
    model, optimizer, scheduler, loader = accelerator.prepare(model, optimizer, scheduler, loader)
    if load:
        accelerator.load_state(load)
        loader = accelerator.skip_first_batches(loader, 6)
    accelerator.init_trackers("digits")
    measured = {"lr": [], "grad_norm": [], "loss": []}
    pending = []
    with LocalSGD(accelerator, model, local_sgd_steps=4, enabled=local) as averaging:
        for number, (inputs, labels) in enumerate(loader):
            with accelerator.accumulate(model):
                loss = torch.nn.functional.cross_entropy(model(inputs), labels)
                pending.append(loss.item())
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    norms = [p.grad.double().norm() for p in model.parameters()]
                    measured["grad_norm"].append(float(torch.stack(norms).norm()))
                    measured["lr"].append(optimizer.param_groups[0]["lr"])
                    measured["loss"].append(sum(pending) / len(pending))
                    pending.clear()
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            averaging.step()
            each(accelerator, number, measured)
    for tracker in accelerator.trackers:  # end_training() would end the process group, too
        tracker.finish()
    return measured
"""

#: Two processes, begun by `notebook_launcher` as in a cell.
LAUNCHED = """
def cell():
    measured = {
        "split": train("split", split=True),
        "not split": train("not split"),
        "accumulated": train("accumulated", gradient_accumulation_steps=3),
        "LocalSGD": train("LocalSGD", local=True),
    }
    if int(os.environ["RANK"]) == 0:
        pathlib.Path("measured.json").write_text(json.dumps(measured))
    torch.distributed.destroy_process_group()

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = str(free.getsockname()[1])
notebook_launcher(cell, num_processes=2, use_port=port, master_addr="127.0.0.1")
"""

#: A training that is killed in its ninth step after saving the state of its sixth.
KILLED = """
def each(accelerator, number, measured):
    pathlib.Path(f"{sys.argv[1]}.json").write_text(json.dumps(measured))
    if sys.argv[1] == "first" and number == 5:
        accelerator.save_state("saved")
    if sys.argv[1] == "first" and number == 8:
        os.kill(os.getpid(), signal.SIGKILL)

train("killed", each=each, load="saved" if sys.argv[1] == "second" else None)
"""


def run(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a program with the training above."""
    program = Path("train.py")
    program.write_text(TRAINING + text + EXIT_WITHOUT_SHUTDOWN)
    command = [sys.executable, "-P", str(program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def measured(name: str) -> dict[str, Any]:
    """Returns what a program has noted."""
    return dict(json.loads(Path(f"{name}.json").read_text()))


def test_a_cell_with_two_processes(clean_place, local, steps_of) -> None:
    """In two processes of `notebook_launcher`, runs hold what the main process measured.

    The rates tell split batches, whose schedule moves once a step, from the others, where it moves
    once a process.
    """
    process = run(LAUNCHED)
    assert process.returncode == 0, process.stderr
    histories = {history.run.name: history for history in local()}
    truth = measured("measured")

    assert histories.keys() == truth.keys()
    for name, expected in truth.items():
        steps, history = steps_of(histories[name]), histories[name]
        assert (history.run.world_size, history.state) == (2, State.FINISHED)
        assert history.steps.tolist() == list(range(4 if name == "accumulated" else 12))
        assert list(steps["lr"].values()) == expected["lr"]
        assert list(steps["loss"].values()) == pytest.approx(expected["loss"], rel=1e-6)
        assert list(steps["grad_norm"].values()) == pytest.approx(expected["grad_norm"], rel=1e-5)
        # Where the schedule moves once a process, a diagnosis says so; four steps are too few.
        moved_twice = {"LR012"} if name in ("not split", "LocalSGD") else set()
        assert {d["code"] for d in history.run.diagnoses} == moved_twice
    assert truth["split"]["lr"][1] == pytest.approx(0.09)
    assert truth["not split"]["lr"][1] == pytest.approx(0.081)


def test_a_killed_training_goes_on(clean_place, local, steps_of) -> None:
    """A training that was killed goes on in its run, with the steps of both parts once."""
    assert run(KILLED, "first").returncode == -signal.SIGKILL
    process = run(KILLED, "second")
    assert process.returncode == 0, process.stderr
    (history,) = local()
    first, second = measured("first"), measured("second")
    steps = steps_of(history)

    assert (history.state, history.run.diagnoses) == (State.FINISHED, ())
    assert history.steps.tolist() == list(range(12))
    for name in ("lr", "loss", "grad_norm"):
        expected = first[name][:6] + second[name]
        assert list(steps[name].values()) == pytest.approx(expected, rel=1e-6)
    assert first["loss"][6:] == second["loss"][:3]
