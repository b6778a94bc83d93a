"""Trainings that raise, that search for a batch size or for settings, or are copied."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import mlflow
import optuna
import pytest
import torch
import transformers

import lrtrack
from lrtrack.integrations.transformers import LRTrack
from lrtrack.records import State

from .trainers import Interrupted, Model, Trainer


class Small(Trainer):
    """A Trainer whose memory suffices for batches of eight rows, whose sizes it notes."""

    def training_step(self, model: Any, inputs: Any, *rest: Any) -> Any:
        """Runs out of memory with larger batches."""
        self.sizes = [*getattr(self, "sizes", []), len(inputs["labels"])]
        if self.sizes[-1] > 8:
            raise RuntimeError("CUDA out of memory.")
        return super().training_step(model, inputs, *rest)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_exception_ends_the_run(trainer, local, error: type[BaseException]) -> None:
    """A run is over, as FAILED, when an exception has left `train()`."""
    callback = LRTrack(tracker="local")
    with pytest.raises(error):
        trainer([callback, Interrupted(4, error)]).train()

    (history,) = local()
    assert (history.state, history.steps.tolist()) == (State.FAILED, [0, 1, 2, 3])


def test_a_diagnosis_that_stops_a_training_ends_its_run(digits, trainer, local) -> None:
    """`stop_on` leaves a run that has ended, with the Trainer in the state of the step before."""

    class Broken(transformers.TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            for parameter in kwargs["model"].parameters():
                parameter.grad = torch.full_like(parameter, float("nan"))

    task = digits(steps=400, batches=12)
    used = trainer(
        [LRTrack(tracker="local", stop_on={"LR006", "LR024"}), Broken()], task, num_train_epochs=400
    )
    with pytest.raises(lrtrack.TrainingStopped):
        used.train()

    assert [history.state for history in local()] == [State.FAILED]


def test_attempts_without_a_step_leave_no_run(digits, trainer, local, steps_of) -> None:
    """Attempts that run out of memory at once leave no run; the good one has the size in use."""
    task = digits()
    used = trainer(
        [LRTrack(tracker="local")],
        task,
        auto_find_batch_size=True,
        per_device_train_batch_size=64,
        eval_on_start=True,
        max_steps=6,
    )
    used.__class__ = Small
    used.train()

    (history,) = local()
    steps = steps_of(history)
    assert (history.state, history.steps.tolist()) == (State.FINISHED, list(range(6)))
    assert history.run.config["per_device_train_batch_size"] == used.sizes[-1] <= 8
    assert used.sizes[0] == 64
    assert list(steps["loss"]) == list(range(6))
    assert set(steps["eval_loss"]) == {0}


def test_a_search(digits, trainer, local) -> None:
    """A trial is named and grouped after itself; a pruned one is FAILED with its steps."""
    used = trainer([LRTrack(tracker="local")], logging_steps=4, eval_strategy="steps", eval_steps=4)
    used.optimizer = used.lr_scheduler = None
    used.model_init = lambda trial=None: Model(digits().model)
    used.hp_search_backend = None
    best = used.hyperparameter_search(
        hp_space=lambda trial: {"learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-1)},
        compute_objective=lambda metrics: metrics["eval_loss"],
        n_trials=2,
        direction="minimize",
        study_name="rates",
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=Second(),
    )
    runs = {history.run.name: history for history in local()}

    assert best.run_id == "0"
    assert set(runs) == {"trial-0", "trial-1"}
    assert {history.run.group for history in runs.values()} == {"rates"}
    assert (runs["trial-0"].state, runs["trial-0"].steps.size) == (State.FINISHED, 12)
    assert (runs["trial-1"].state, runs["trial-1"].steps.size) == (State.FAILED, 4)
    assert runs["trial-0"].run.config["learning_rate"] == best.hyperparameters["learning_rate"]


def test_a_search_beside_the_mlflow_callback(digits, trainer, store) -> None:
    """Beside MLflow's callback, which opens a run for the first trial only, each trial has one."""
    used = trainer([LRTrack(flush_timeout=300.0)], report_to="mlflow", max_steps=3)
    used.optimizer = used.lr_scheduler = None
    used.model_init = lambda trial=None: Model(digits().model)
    used.hp_search_backend = None
    used.hyperparameter_search(
        hp_space=lambda trial: {"learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-1)},
        compute_objective=lambda metrics: metrics["eval_loss"],
        n_trials=2,
        study_name="rates",
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    client = mlflow.MlflowClient(tracking_uri=store)
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    ours = {r.info.run_name: r for r in runs if "lrtrack.scheduler.name" in r.data.tags}
    steps = {
        name: [point.step for point in client.get_metric_history(run.info.run_id, "lr")]
        for name, run in ours.items()
    }

    assert steps == {"trial-0": [0, 1, 2], "trial-1": [0, 1, 2]}
    assert {run.data.tags["lrtrack.group"] for run in ours.values()} == {"rates"}


class Second(optuna.pruners.BasePruner):
    """Prunes the second trial at its first report."""

    def prune(self, study: Any, trial: Any) -> bool:
        """Whether it is the second one."""
        return trial.number == 1


class Stream(torch.utils.data.IterableDataset):
    """Rows without a known number."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __iter__(self) -> Any:
        for inputs, labels in zip(*self.rows, strict=True):
            yield {"inputs": inputs, "labels": labels}


def test_a_stream_has_no_number_of_epochs(digits, trainer, local) -> None:
    """With `max_steps` and a stream, the number of epochs is unknown, not the largest integer."""
    task = digits()
    trainer([LRTrack(tracker="local")], task, rows=Stream(task.rows), max_steps=3).train()
    (history,) = local()

    assert history.run.total_steps == 3
    assert not {"num_train_epochs", "steps_per_epoch"} & history.run.config.keys()


class Copying(transformers.TrainerCallback):
    """Copies and pickles the recording callback in mid-training."""

    def __init__(self, other: Any) -> None:
        self.other, self.copies = other, []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Does so after the third step."""
        if state.global_step == 3:
            self.copies = [copy.deepcopy(self.other), pickle.loads(pickle.dumps(self.other))]


def test_copies_record_trainings_of_their_own(trainer, local) -> None:
    """Copies of a callback, before, during and after a training, have its options and no run."""
    callback = LRTrack(tracker="local", norms="off")
    before = copy.deepcopy(callback)
    copying = Copying(callback)
    trainer([callback, copying]).train()
    after = pickle.loads(pickle.dumps(callback))
    copies = [before, *copying.copies, after]
    runs = [copied.run for copied in copies]
    trainer(copies[1:2]).train()

    assert runs == [None] * 4
    assert [history.steps.size for history in local()] == [12, 12]
    assert not [history for history in local() if "grad_norm" in history.metrics]
