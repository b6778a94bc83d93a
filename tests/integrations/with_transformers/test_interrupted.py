"""Trainings that are killed, stopped early or streamed, and what they go on with.

Each has its own truth: the losses, rates and norms that the Trainer and its model had.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lrtrack.integrations.transformers import LRTrack
from lrtrack.records import State

from .test_left_and_searched import Stream
from .test_situations import Measuring
from .trainers import Trainer

#: The diagnoses that a sound training must not have.
FALSE = {"LR002", "LR013", "LR030", "LR031"}
SAVING = {"learning_rate": 0.05, "save_strategy": "steps", "save_steps": 3, "max_grad_norm": 0.5}


class Killed(transformers.TrainerCallback):
    """Kills the process before the ninth step."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Kills it."""
        if state.global_step == 8:
            os.kill(os.getpid(), signal.SIGKILL)


class Classifier(torch.nn.Module):
    """The digits' network with the output that a label smoother needs."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.config = transformers.PretrainedConfig()

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, Any]:
        """Returns scores, and the loss where there are labels."""
        scores = self.inner(inputs)
        if labels is None:
            return {"logits": scores}
        return {"loss": torch.nn.functional.cross_entropy(scores, labels), "logits": scores}


class Noting(Trainer):
    """A Trainer that notes the loss of each batch that it trains with."""

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns the loss, and notes it in training."""
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        if model.training:
            self.__dict__.setdefault("losses", []).append(loss.item())
        return loss


@pytest.fixture
def train(digits: Any, trainer: Any) -> Callable[..., dict[str, list[float]]]:
    """Trains and returns what the Trainer itself has measured, by the names of the metrics."""

    def run(*callbacks: Any, path: Any = None, stream: bool = False, **options: Any) -> Any:
        task, measuring = digits(), Measuring()
        model = Classifier(task.model)
        rows = Stream(task.rows) if stream else None
        settings = {**SAVING, **({"max_steps": 12} if stream else {}), **options}
        made = trainer([*callbacks, measuring], task, model, rows, **settings)
        made.__class__ = Noting
        made.train(resume_from_checkpoint=path)
        return {"lr": measuring.rates, "grad_norm": measuring.norms, "loss": made.losses}

    return run


def matches(history: Any, expected: dict[str, list[float]]) -> bool:
    """Whether a run's steps hold what was measured in each."""
    return all(
        history.series(name)[1].tolist() == pytest.approx(values, rel=1e-5)
        for name, values in expected.items()
    )


@pytest.mark.parametrize("stream", [False, True], ids=["rows", "a stream"])
def test_the_run_of_a_killed_training_goes_on(train, local, in_child, stream: bool) -> None:
    """A killed training goes on in its run, which holds each step once, as if never killed."""
    whole = train(stream=stream)
    status = in_child(lambda: train(LRTrack(tracker="local"), Killed(), stream=stream))
    (before,) = local()
    again = train(LRTrack(tracker="local"), path="out/checkpoint-6", stream=stream)
    (history,) = local()

    assert (status, before.state) == (-signal.SIGKILL, State.FAILED)
    assert set(range(6)) <= set(before.steps.tolist()) <= set(range(8))
    assert (history.run.id, history.state) == (before.run.id, State.FINISHED)
    assert history.steps.tolist() == list(range(12))
    assert matches(history, whole)
    assert again["lr"] == whole["lr"][6:]
    assert history.run.total_steps == 12
    assert not {d["code"] for d in history.run.diagnoses} & FALSE


@pytest.mark.parametrize("recorded", [True, False], ids=["its state is lost", "never recorded"])
def test_a_killed_training_without_a_state(train, local, in_child, recorded: bool) -> None:
    """Without the state of the callback, a killed training goes on in a new run, at its step."""
    whole = train()
    callbacks = [LRTrack(tracker="local")] if recorded else []
    assert in_child(lambda: train(*callbacks, Killed())) == -signal.SIGKILL
    file = Path("out/checkpoint-6/trainer_state.json")
    state = json.loads(file.read_text())
    states = state["stateful_callbacks"]
    state["stateful_callbacks"] = {k: v for k, v in states.items() if "lrtrack" not in k}
    file.write_text(json.dumps(state))
    train(LRTrack(tracker="local"), path="out/checkpoint-6")
    history, *earlier = local()

    assert (history.state, history.steps.tolist()) == (State.FINISHED, list(range(6, 12)))
    assert matches(history, {name: values[6:] for name, values in whole.items()})
    assert [run.state for run in earlier] == [State.FAILED] * recorded


def test_label_smoothing(digits, train, local) -> None:
    """With label smoothing, the loss is the smoothed one, which the Trainer computes itself."""
    measured = train(LRTrack(tracker="local"), label_smoothing_factor=0.2, save_strategy="no")
    (history,) = local()
    task = digits()
    inputs, labels = next(task.batches())
    first = torch.nn.functional.cross_entropy(task.model(inputs), labels, label_smoothing=0.2)

    assert matches(history, measured)
    assert history.series("loss")[1][0] == pytest.approx(first.item(), rel=1e-6)


def test_early_stopping(train, local) -> None:
    """A training that an EarlyStoppingCallback ends is FINISHED, with its evaluations."""
    stopping = transformers.EarlyStoppingCallback(1, early_stopping_threshold=100.0)
    measured = train(
        LRTrack(tracker="local"),
        stopping,
        eval_strategy="steps",
        eval_steps=3,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
    )
    (history,) = local()

    assert (history.state, history.steps.tolist()) == (State.FINISHED, list(range(6)))
    assert matches(history, measured)
    assert history.series("eval_loss")[0].tolist() == [2, 5]
    assert not {d["code"] for d in history.run.diagnoses} & FALSE
