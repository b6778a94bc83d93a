"""Diagnoses while the training runs: reported once, delivered at once, and acted on if asked."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

import lrtrack
from lrtrack.comparing import fetch
from lrtrack.errors import UsageError

from ..fixtures.isolation import PATIENCE, within

#: A cosine of this many steps, in a training of any length, is past its end: LR003.
LENGTH = 10


class Loop:
    """A training whose schedule is too short, step by step until something is known of it."""

    def __init__(self, training: Any) -> None:
        self.task = training()
        self.optimizer = self.task.optimizer
        self.scheduler = CosineAnnealingLR(self.optimizer, LENGTH, eta_min=1e-3)

    def until(self, is_known: Callable[[], object]) -> None:
        """Train until something is known, and fail if that takes too long."""
        deadline = time.monotonic() + PATIENCE
        while not is_known():
            assert time.monotonic() < deadline
            self.task.step()
            self.scheduler.step()
            time.sleep(0.001)


def quiet() -> warnings.catch_warnings[Any]:
    """Without the lines of diagnoses on stderr."""
    return warnings.catch_warnings(action="ignore", category=lrtrack.LRTrackWarning)


def test_reported_once_and_amended_at_the_end(training, clean_place) -> None:
    """A diagnosis is one warning with the run's name while it runs; its last figures are stored."""
    loop = Loop(training)
    with pytest.warns(lrtrack.LRTrackWarning) as caught:
        with lrtrack.track(loop.optimizer, loop.scheduler, tracker="local", name="one") as run:
            loop.until(lambda: run.diagnoses)
            (early,) = run.diagnoses
            for _ in range(200):
                loop.task.step()
                loop.scheduler.step()
    (final,) = run.diagnoses
    (history,) = fetch("lrtrack", tracker="local")
    line = f"LR003 in run one: {early['message']} Fix: {early['hint']}."

    assert [str(warning.message) for warning in caught] == [line]
    assert early["message"] != final["message"]
    assert f"step {run.step} of {LENGTH}" in final["message"]
    assert history.run.diagnoses == (final,)


def test_the_user_is_called_between_two_steps(training, clean_place) -> None:
    """`on_diagnosis` runs on the training's thread; what it raises is a warning."""
    loop, calls = Loop(training), []

    def on_diagnosis(diagnosis: dict[str, str]) -> None:
        calls.append((diagnosis["code"], threading.get_ident(), loop.scheduler.last_epoch))
        raise ValueError("mine")

    options: dict[str, Any] = {"tracker": "local", "on_diagnosis": on_diagnosis}
    with pytest.warns(lrtrack.LRTrackWarning) as caught:
        with lrtrack.track(loop.optimizer, loop.scheduler, **options) as run:
            loop.until(lambda: calls)
            step = run.step
    warned = [str(warning.message) for warning in caught]

    assert "on_diagnosis raised ValueError('mine'). Training continues." in warned
    assert calls == [("LR003", threading.get_ident(), step)]


def test_the_user_is_called_at_the_end(training, clean_place) -> None:
    """What only the end shows is given to `on_diagnosis` there, and stops nothing."""
    task, codes = training(), []
    scheduler = CosineAnnealingLR(task.optimizer, LENGTH)
    options: dict[str, Any] = {"tracker": "local", "stop_on": "LR001"}
    with quiet(), lrtrack.track(
        task.optimizer, scheduler, on_diagnosis=lambda one: codes.append(one["code"]), **options
    ) as run:  # fmt: skip
        task.run(6)

    assert codes == ["LR001"]
    assert [diagnosis["code"] for diagnosis in run.diagnoses] == ["LR001"]


def test_stop_on_ends_the_training_where_it_can_go_on(training, clean_place) -> None:
    """`TrainingStopped` comes before a step, when weights and scheduler are those of the last."""
    loop = Loop(training)
    with quiet(), pytest.raises(lrtrack.TrainingStopped, match="by LR003: CosineAnn") as raised:
        options: dict[str, Any] = {"tracker": "local", "stop_on": {"LR003"}}
        with lrtrack.track(loop.optimizer, loop.scheduler, **options) as run:
            loop.until(lambda: False)
    stop = raised.value
    weights = [weight.clone() for weight in loop.task.model.parameters()]
    (history,) = fetch("lrtrack", tracker="local")
    again = Loop(training)
    for _ in range(stop.step + 1):
        again.task.step()
        again.scheduler.step()

    assert (stop.diagnosis["code"], stop.step) == ("LR003", run.step)
    assert loop.scheduler.last_epoch == stop.step + 1
    assert all(map(torch.equal, weights, again.task.model.parameters()))
    assert (str(history.state), history.run.diagnoses) == ("FAILED", run.diagnoses)


def test_stop_on_of_a_training_without_an_optimizer(clean_place) -> None:
    """Where `record()` makes the steps, it raises `TrainingStopped` before the next one."""
    run = lrtrack.start(None, tracker="local", stop_on=["LR006"])
    deadline = time.monotonic() + PATIENCE
    with quiet(), pytest.raises(lrtrack.TrainingStopped, match="LR006: the loss is nan"):
        while time.monotonic() < deadline:
            run.record(lr=0.1, loss=float("nan"))
            time.sleep(0.001)
    with quiet():
        run.end("FAILED")

    assert [diagnosis["code"] for diagnosis in run.diagnoses] == ["LR006"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"stop_on": "LR999"}, "Unknown value for stop_on 'LR999'"),
        ({"stop_on": 6}, "stop_on must be diagnosis codes, got 6"),
        ({"on_diagnosis": "print"}, "on_diagnosis must be a function, got 'print'"),
    ],
)
def test_wrong_arguments_are_refused(training, option: dict[str, Any], message: str) -> None:
    """An unknown code, or something that cannot be called, is an error before the training."""
    with pytest.raises(UsageError, match=message):
        lrtrack.track(training().optimizer, tracker="local", **option)


def test_the_tag_appears_in_mlflow_while_it_runs(training, store, monkeypatch) -> None:
    """MLflow has the diagnosis of a run that is still RUNNING."""
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    loop, client = Loop(training), mlflow.MlflowClient(store)
    with quiet(), lrtrack.track(loop.optimizer, loop.scheduler, tracker="mlflow") as run:
        loop.until(lambda: run.diagnoses)
        within(PATIENCE, lambda: "lrtrack.diagnoses" in client.get_run(run.id).data.tags)
        stored = client.get_run(run.id)

    assert stored.info.status == "RUNNING"
    assert [one["code"] for one in json.loads(stored.data.tags["lrtrack.diagnoses"])] == ["LR003"]
    assert "scheduler" in client.get_run(run.id).data.params


def test_wandb_sends_one_alert(training, wandb_server) -> None:
    """W&B gets an alert, and the code in the summary, while the run goes on."""
    loop = Loop(training)
    options: dict[str, Any] = {"tracker": "wandb", "experiment": "x", "name": "one"}
    with quiet(), lrtrack.track(loop.optimizer, loop.scheduler, **options) as run:
        loop.until(lambda: run.diagnoses)
        (early,) = run.diagnoses
        within(PATIENCE, lambda: any(stored.alerts for stored in wandb_server.runs("tester/x")))
        (stored,) = wandb_server.runs("tester/x")
        state = stored.state
    run.flush()

    assert state == "running"
    assert [(alert["title"], alert["severity"]) for alert in stored.alerts] == [
        ("LR003 in run one", "WARN")
    ]
    assert stored.alerts[0]["text"] == f"{early['message']} Fix: {early['hint']}."


KILLED = """
import os, time, torch, lrtrack
optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(3))], lr=0.01)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
run = lrtrack.start(optimizer, scheduler, tracker="local")
while not run.diagnoses:
    optimizer.zero_grad()
    optimizer.param_groups[0]["params"][0].square().sum().backward()
    optimizer.step()
    scheduler.step()
    time.sleep(0.001)
os._exit(9)
"""


def test_a_killed_run_keeps_its_diagnoses(clean_place) -> None:
    """What was reported before a training was killed is stored, also what records do not show."""
    process = subprocess.run([sys.executable, "-P", "-c", KILLED], timeout=PATIENCE, check=False)
    (history,) = fetch("lrtrack", tracker="local")
    (diagnosis,) = lrtrack.compare("lrtrack", tracker="local", include_unfinished=True).diagnoses

    assert (process.returncode, str(history.state)) == (9, "FAILED")
    assert diagnosis["message"] == history.run.diagnoses[0]["message"]
    assert f"of {LENGTH} (T_max=10)" in diagnosis["message"]


TOGETHER = """
import sys, torch, lrtrack
rank, store = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
weight = torch.nn.Parameter(torch.ones(3))
optimizer = torch.optim.SGD([weight], lr=0.01)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
try:
    with lrtrack.track(optimizer, scheduler, tracker="local", stop_on=["LR003"]) as run:
        while True:
            optimizer.zero_grad()
            weight.square().sum().backward()
            torch.distributed.all_reduce(weight.grad)
            optimizer.step()
            scheduler.step()
except lrtrack.TrainingStopped as stop:
    print(stop.step, run.step, stop.diagnosis["code"])
"""


def test_processes_stop_together(clean_place: Path) -> None:
    """All processes of a training stop before the same step, so that none waits for another."""
    from ..fixtures.programs import EXIT_WITHOUT_SHUTDOWN

    program = [sys.executable, "-P", "-c", TOGETHER + EXIT_WITHOUT_SHUTDOWN]
    processes = [
        subprocess.Popen(
            [*program, str(rank), str(clean_place / "meeting")], stdout=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    try:
        printed = [process.communicate(timeout=PATIENCE)[0].split() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    (step, last, code), other = printed

    assert (last, code, other) == (step, "LR003", [step, step, "LR003"])
