"""Trainings that are killed and go on from their last checkpoint."""

from __future__ import annotations

import os
import signal
from typing import Any

import lightning.pytorch as lightning
import mlflow
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.optim.lr_scheduler import ExponentialLR

from lrtrack.integrations.lightning import LRTrack
from lrtrack.records import State

from .modules import NOISE, QUIET
from .test_situations import TASK, Measuring, configured

pytestmark = [
    *NOISE,
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before"),
]
LAST = "kept/last.ckpt"
#: A schedule that moves at each step, so that a wrong step has a wrong rate.
SCHEDULE = configured(lambda o: ExponentialLR(o, 0.9), interval="step")


class Killed(lightning.Callback):
    """Kills the process before the seventh step."""

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        """Kills it."""
        if trainer.global_step == 6:
            os.kill(os.getpid(), signal.SIGKILL)


def train(digits: Any, *callbacks: Any, path: str | None = None, every: int = 4) -> Measuring:
    """Trains three epochs of four batches, with a checkpoint after every few steps."""
    module = Measuring(digits(**TASK), SCHEDULE)
    keeping = ModelCheckpoint(
        "kept" if callbacks else "whole", save_last=True, every_n_train_steps=every
    )
    options = {**QUIET, "max_epochs": 3, "enable_checkpointing": True}
    trainer = lightning.Trainer(**options, callbacks=[*callbacks, keeping])
    trainer.fit(module, module.task.loader(), ckpt_path=path)
    return module


def measured(module: Measuring) -> dict[str, list[float]]:
    """What a module has measured, by the names of the metrics."""
    return {"lr": module.rates, "grad_norm": module.norms, "loss": module.means}


def matches(history: Any, expected: dict[str, list[float]]) -> bool:
    """Whether a run's steps hold what was measured in each."""
    return all(
        history.series(name)[1].tolist() == pytest.approx(values, rel=1e-5)
        for name, values in expected.items()
    )


@pytest.mark.parametrize("every", [4, 3], ids=["after an epoch", "in mid-epoch"])
def test_the_run_of_a_killed_training_goes_on(digits, local, in_child, every: int) -> None:
    """A killed training goes on in its run, which holds each step once, as its modules measured."""
    whole = measured(train(digits))
    status = in_child(lambda: train(digits, LRTrack(tracker="local"), Killed(), every=every))
    (before,) = local()
    start = 4 if every == 4 else 6
    again = measured(train(digits, LRTrack(tracker="local"), path=LAST, every=every))
    (history,) = local()
    expected = {name: values[:start] + again[name] for name, values in whole.items()}

    assert (status, before.state) == (-signal.SIGKILL, State.FAILED)
    assert set(range(start)) <= set(before.steps.tolist())
    assert (history.run.id, history.state) == (before.run.id, State.FINISHED)
    assert history.steps.tolist() == list(range(start + len(again["lr"])))
    assert matches(history, expected)
    assert again["lr"] == whole["lr"][start:]
    assert not {d["code"] for d in history.run.diagnoses} & {"LR002", "LR013", "LR030", "LR031"}


@pytest.mark.parametrize("recorded", [True, False], ids=["its state is lost", "never recorded"])
def test_a_killed_training_without_a_state(digits, local, in_child, recorded: bool) -> None:
    """Without the state of the callback, a killed training goes on in a new run, at its step."""
    whole = measured(train(digits))
    callbacks = [LRTrack(tracker="local")] if recorded else []
    assert in_child(lambda: train(digits, *callbacks, Killed())) == -signal.SIGKILL
    checkpoint = torch.load(LAST, weights_only=False)
    checkpoint["callbacks"] = {
        key: state for key, state in checkpoint["callbacks"].items() if "LRTrack" not in key
    }
    torch.save(checkpoint, LAST)
    train(digits, LRTrack(tracker="local"), path=LAST)
    history, *earlier = local()

    assert (history.state, history.steps.tolist()) == (State.FINISHED, list(range(4, 12)))
    assert matches(history, {name: values[4:] for name, values in whole.items()})
    assert [run.state for run in earlier] == [State.FAILED] * recorded
    assert all(set(range(4)) <= set(run.steps.tolist()) <= set(range(6)) for run in earlier)


def test_a_killed_training_in_mlflow(digits, store, in_child, monkeypatch) -> None:
    """In MLflow, a killed training is one run, whose last point of each step is as measured."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    whole = measured(train(digits))
    options: dict[str, Any] = {"tracker": "mlflow", "experiment": "digits", "flush_timeout": 300.0}
    in_child(lambda: train(digits, LRTrack(**options), Killed()))
    train(digits, LRTrack(**options), path=LAST)
    client = mlflow.MlflowClient(store)
    (run,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])

    assert run.info.status == "FINISHED"
    for name, values in whole.items():
        points = client.get_metric_history(run.info.run_id, name)
        last = {p.step: p.value for p in sorted(points, key=lambda point: point.timestamp)}
        assert last == pytest.approx(dict(enumerate(values)), rel=1e-5), name
