"""`trainer.fit(ckpt_path=…)` continues the run that the checkpoint names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightning.pytorch as lightning
import mlflow
import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import MLFlowLogger

from lrtrack.integrations.lightning import LRTrack
from lrtrack.records import State

from .modules import NOISE, QUIET, Adversaries, Module

pytestmark = [*NOISE, pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")]
#: Three epochs of four batches, with a checkpoint after each.
TASK = {"steps": 12, "batches": 4}
LAST = "kept/last.ckpt"


class Breaking(Module):
    """Raises in the middle of the second epoch."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Returns the loss of a batch, or raises."""
        if self.global_step == 6:
            raise RuntimeError("no more")
        return super().training_step(batch, batch_idx)


def trainer(*callbacks: Any, **options: Any) -> Any:
    """A Trainer that keeps its last checkpoint."""
    keeping = ModelCheckpoint("kept", save_last=True)
    settings = {**QUIET, "max_epochs": 3, "enable_checkpointing": True, **options}
    return lightning.Trainer(**settings, callbacks=[*callbacks, keeping])


def train(module: Any, callback: Any = None, ckpt_path: str | None = None, **options: Any) -> Any:
    """Trains with new objects, as in a new process, and returns the Trainer."""
    trainer_used = trainer(callback or LRTrack(tracker="local"), **options)
    trainer_used.fit(module, module.task.loader(), ckpt_path=ckpt_path)
    return trainer_used


def broken_off(digits: Any, **options: Any) -> None:
    """A training that has made six steps, with a checkpoint after four."""
    with pytest.raises(RuntimeError, match="no more"):
        train(Breaking(digits(**TASK)), **options)


def test_the_same_run_goes_on(digits, local, steps_of) -> None:
    """A resumed training has everything that an uninterrupted one has, and no step twice."""
    broken_off(digits)
    (before,) = local()
    train(Module(digits(**TASK)), ckpt_path=LAST)
    train(Module(digits(**TASK)))
    whole, resumed = local()

    assert (before.state, before.steps.tolist()) == (State.FAILED, list(range(6)))
    assert resumed.run.id == before.run.id
    assert resumed.state is State.FINISHED
    assert steps_of(resumed) == steps_of(whole)


def test_each_of_several_runs_goes_on(digits, local) -> None:
    """Each of several runs is resumed, found by its place among the optimizers."""
    for epochs, path in ((1, None), (3, LAST)):
        train(Adversaries(digits(steps=4)), ckpt_path=path, max_epochs=epochs)

    assert {history.run.prefix: history.steps.tolist() for history in local()} == {
        "critic/": list(range(12)), "generator/": list(range(12))
    }  # fmt: skip


def test_a_fit_that_is_gone_on_with(digits, local) -> None:
    """More epochs with the same Trainer are the same training; another Trainer starts a new one."""
    module = Module(digits(**TASK))
    callback = LRTrack(tracker="local")
    first = train(module, callback, max_epochs=1)
    first.fit_loop.max_epochs = 2
    first.fit(module, module.task.loader())
    first.test(Judged(module.task), module.task.loader(), ckpt_path=LAST, verbose=False)
    train(Module(digits(**TASK)), callback, max_epochs=1)

    assert [history.steps.tolist() for history in local()] == [[*range(4)], [*range(8)]]


class Judged(Module):
    """A module that can be tested."""

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Tests nothing."""


def test_a_checkpoint_that_tells_of_no_run(digits, local) -> None:
    """A checkpoint that names no run continues in a new one, at its step."""
    module = Module(digits(**TASK))
    trainer(max_epochs=1).fit(module, module.task.loader())
    train(Module(digits(**TASK)), ckpt_path=LAST)
    (history,) = local()

    assert history.steps.tolist() == list(range(4, 12))


def test_in_mlflow(digits, store, monkeypatch) -> None:
    """In MLflow, a resumed training is one run, whose two repeated steps have two points each."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    options = {"tracker": "mlflow", "experiment": "digits", "flush_timeout": 300.0}
    broken_off(digits, callback=LRTrack(**options))
    train(Module(digits(**TASK)), LRTrack(**options), LAST)
    client = mlflow.MlflowClient(store)
    (run,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    points = client.get_metric_history(run.info.run_id, "loss")

    assert (run.info.status, run.data.tags["lrtrack.rewound"]) == ("FINISHED", "4-5")
    assert [point.step for point in points] == [*range(6), *range(4, 12)]


@pytest.fixture
def loggers(store: str) -> Iterator[Any]:
    """Makes MLflow loggers on a store of their own."""
    yield lambda run_id=None: MLFlowLogger("digits", tracking_uri=store, run_id=run_id)
    mlflow.set_tracking_uri(None)  # a logger sets it for the whole process


@pytest.mark.parametrize("same", [True, False], ids=["its run", "a run of its own"])
def test_with_a_logger_that_has(same: bool, digits, loggers) -> None:
    """With a logger the run is the logger's; a new one starts at the step of the checkpoint."""
    first = loggers()
    broken_off(digits, callback=LRTrack(flush_timeout=300.0), logger=first)
    second = loggers(first.run_id if same else None)
    train(Module(digits(**TASK)), LRTrack(flush_timeout=300.0), LAST, logger=second)
    client = first.experiment
    steps = [
        [point.step for point in client.get_metric_history(logger.run_id, "loss")]
        for logger in (first, second)
    ]

    again = [*range(6), *range(4, 12)]
    assert steps == ([again] * 2 if same else [[*range(6)], [*range(4, 12)]])
    assert client.get_run(second.run_id).info.status == "FINISHED"


def test_two_optimizers_in_one_run_of_a_logger(digits, loggers) -> None:
    """Two optimizers in one run of a logger each continue their own journal."""
    first = loggers()
    for epochs, path, logger in ((1, None, first), (2, LAST, loggers(first.run_id))):
        callback = LRTrack(flush_timeout=300.0)
        train(Adversaries(digits(steps=4)), callback, path, max_epochs=epochs, logger=logger)
    histories = first.experiment.get_metric_history
    names = ("critic/lr", "generator/lr", "critic/loss", "generator/loss")

    for name in names:
        assert [point.step for point in histories(first.run_id, name)] == list(range(8)), name
