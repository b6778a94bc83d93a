"""Trainings in their own processes: on two CPUs at once, and into a W&B run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest

SCRIPT = Path(__file__).with_name("trainer.py")


def train(**given: Any) -> list[float]:
    """Runs the script and returns the losses of its first process."""
    options = {"task": {}, "callback": {}, "trainer": {}, "loggers": {}, **given}
    process = subprocess.run(
        [sys.executable, "-P", str(SCRIPT), json.dumps(options)],
        env={**os.environ, "PYTHONWARNINGS": "ignore::FutureWarning"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    assert "LRTrackWarning" not in process.stderr
    losses: list[float] = json.loads(process.stdout.splitlines()[-1])
    return losses


def test_two_processes_write_one_run(store, digits, local, steps_of) -> None:
    """Two processes write one run with global rates and norms, and the loss that Lightning's
    `sync_dist` gives.
    """
    expected = steps_of(digits().plain())
    trainer = {"strategy": "ddp", "devices": 2, "use_distributed_sampler": False}
    losses = train(
        trainer={**trainer, "log_every_n_steps": 1},
        loggers={"MLFlowLogger": {"experiment_name": "digits", "tracking_uri": store}},
        callback={"flush_timeout": 300.0},
    )
    (history,) = local()
    steps = steps_of(history)
    client = mlflow.MlflowClient(store)
    (run,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])

    assert history.run.world_size == 2
    assert steps["lr"] == expected["lr"]
    assert steps["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-5)
    assert steps["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert all(steps["loss"][step] != own for step, own in enumerate(losses))
    logged = client.get_metric_history(run.info.run_id, "mine")
    assert {point.step: point.value for point in logged} == pytest.approx(steps["loss"], rel=1e-6)
    points = client.get_metric_history(run.info.run_id, "loss")
    assert {point.step: point.value for point in points} == steps["loss"]
    assert run.info.status == "FINISHED"
    assert run.data.tags["lrtrack.world_size"] == "2"


def test_the_runs_of_both_loggers_are_joined(wandb_server, store) -> None:
    """The runs of both loggers are joined: each has all steps, and Lightning's rows are
    unchanged.
    """
    losses = train(
        loggers={
            "WandbLogger": {"project": "p"},
            "MLFlowLogger": {"experiment_name": "digits", "tracking_uri": store},
        },
        callback={"flush_timeout": 300.0},
    )
    (run,) = wandb_server.runs("tester/p")
    rows = [row for row in run.history if "lrtrack/step" in row]
    lightning_rows = [row for row in run.history if "trainer/global_step" in row]
    client = mlflow.MlflowClient(store)
    (other,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])

    assert [(row["lrtrack/step"], row["loss"]) for row in rows] == list(enumerate(losses))
    assert [(row["trainer/global_step"], row["mine"]) for row in lightning_rows] == [
        (step, losses[step]) for step in (3, 7, 11)
    ]
    assert run.state == "finished"
    assert run.config["lrtrack"]["scheduler"]["name"] == "OneCycleLR"
    points = client.get_metric_history(other.info.run_id, "loss")
    assert [(point.step, point.value) for point in points] == list(enumerate(losses))
    assert other.data.metrics["loss_best"] == min(losses)
