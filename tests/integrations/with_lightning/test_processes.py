"""Trainings in processes of their own: on two processors at once, and into a W&B run."""

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
    """Run the script; the losses of its first process."""
    options = {"task": {}, "callback": {}, "trainer": {}, "loggers": {}, **given}
    done = subprocess.run(
        [sys.executable, "-P", str(SCRIPT), json.dumps(options)],
        env={**os.environ, "PYTHONWARNINGS": "ignore::FutureWarning"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "LRTrackWarning" not in done.stderr
    losses: list[float] = json.loads(done.stdout.splitlines()[-1])
    return losses


def test_two_processes_write_one_run(store, digits, local, steps_of) -> None:
    """Rates and norms are those of both halves of a batch together; the loss is the first one's."""
    expected = steps_of(digits().plain())
    losses = train(
        trainer={"strategy": "ddp", "devices": 2, "use_distributed_sampler": False},
        loggers={"MLFlowLogger": {"experiment_name": "digits", "tracking_uri": store}},
        callback={"flush_timeout": 300.0},
    )
    (history,) = local()
    found = steps_of(history)
    client = mlflow.MlflowClient(store)
    (run,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])

    assert history.run.world_size == 2
    assert found["lr"] == expected["lr"]
    assert found["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-5)
    assert found["loss"] == dict(enumerate(losses))
    points = client.get_metric_history(run.info.run_id, "loss")
    assert {point.step: point.value for point in points} == found["loss"]
    assert run.info.status == "FINISHED"
    assert run.data.tags["lrtrack.world_size"] == "2"


def test_the_runs_of_both_loggers_are_joined(wandb_server, store) -> None:
    """Each has all steps, and Lightning's own rows where they were."""
    losses = train(
        loggers={
            "WandbLogger": {"project": "p"},
            "MLFlowLogger": {"experiment_name": "digits", "tracking_uri": store},
        },
        callback={"flush_timeout": 300.0},
    )
    (run,) = wandb_server.runs("tester/p")
    ours = [row for row in run.history if "lrtrack/step" in row]
    theirs = [row for row in run.history if "trainer/global_step" in row]
    client = mlflow.MlflowClient(store)
    (other,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])

    assert [(row["lrtrack/step"], row["loss"]) for row in ours] == list(enumerate(losses))
    assert [(row["trainer/global_step"], row["mine"]) for row in theirs] == [
        (step, losses[step]) for step in (3, 7, 11)
    ]
    assert run.state == "finished"
    assert run.config["lrtrack"]["scheduler"]["name"] == "OneCycleLR"
    points = client.get_metric_history(other.info.run_id, "loss")
    assert [(point.step, point.value) for point in points] == list(enumerate(losses))
    assert other.data.metrics["loss_best"] == min(losses)
