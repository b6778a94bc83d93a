"""Situations of skorch's users, each with its own truth: what torch's hooks and losses measured."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from torch.optim.lr_scheduler import CyclicLR, ExponentialLR, ReduceLROnPlateau, StepLR

from lrtrack.records import State

pytest.importorskip("skorch", reason="needs skorch")
from skorch import NeuralNetClassifier
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    GradientNormClipping,
    LoadInitState,
    LRScheduler,
    TrainEndCheckpoint,
    Unfreezer,
)
from skorch.dataset import ValidSplit

from lrtrack.integrations.skorch import LRTrack

from .test_skorch import Unscaled, net_of, rows_of

#: What a sound training must not have.
FALSE = {"LR002", "LR013", "LR030", "LR031"}


class Measured(Callback):
    """Measures each step by torch's own hooks, on whatever optimizer the net has."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.norms: list[float] = []
        self.losses: list[float] = []

    def on_epoch_begin(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Hooks the net's optimizer of now."""
        self.hook = net.optimizer_.register_step_post_hook(self.note)

    def on_epoch_end(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Removes the hook, and notes the losses of the epoch."""
        self.hook.remove()
        self.losses += net.history[-1, "batches", :, "train_loss"]

    def note(self, optimizer: Any, *_: Any) -> None:
        """Notes what the step has used."""
        gradients = [p.grad.double() for g in optimizer.param_groups for p in g["params"]]
        self.norms.append(float(torch.nn.utils.get_total_norm(gradients)))
        self.rates.append(optimizer.param_groups[0]["lr"])


class Accumulating(NeuralNetClassifier):
    """Two batches a step, as skorch's documentation shows."""

    def get_loss(self, *args: Any, **kwargs: Any) -> Any:
        """Returns half of the loss of a batch."""
        return super().get_loss(*args, **kwargs) / 2

    def train_step(self, batch: Any, **fit_params: Any) -> Any:
        """Makes a step with every second batch."""
        done = self.train_step_single(batch, **fit_params)
        if len(self.history[-1, "batches"]) % 2 == 0:
            self.optimizer_.step()
            self.optimizer_.zero_grad()
        return done


def fit_once(net: Any, rows: Any) -> None:
    """Fits."""
    net.fit(*rows)


def fit_in_parts(net: Any, rows: Any) -> None:
    """Fits epoch by epoch."""
    for _ in range(3):
        net.partial_fit(*rows, epochs=1)


def fit_with_another_rate(net: Any, rows: Any) -> None:
    """Goes on with another rate."""
    net.fit(*rows, epochs=2)
    net.set_params(lr=0.01, optimizer__momentum=0.5)
    net.partial_fit(*rows, epochs=1)


def scheduled(policy: Any, **options: Any) -> Callable[[], list[Any]]:
    """Makes skorch's callback for a schedule."""
    return lambda: [LRScheduler(policy, **options)]


@dataclass(frozen=True)
class Case:
    """One situation.

    Attributes:
        steps: how many steps the run has.
        schedule: the name of its schedule.
        callbacks: makes further callbacks.
        options: options of the net.
        train: what the user does.
        kind: the net's class.
        shown: which of these diagnoses it rightly has.
    """

    steps: int = 12
    schedule: str = "constant"
    callbacks: Callable[[], list[Any]] = list
    options: dict[str, Any] = field(default_factory=dict)
    train: Callable[[Any, Any], None] = fit_once
    kind: Any = NeuralNetClassifier
    shown: frozenset[str] = frozenset()


SPLIT = {"train_split": ValidSplit(4, stratified=False)}
CASES = {
    "each batch": Case(
        12, "ExponentialLR", scheduled(ExponentialLR, gamma=0.9, step_every="batch")
    ),
    "each epoch": Case(12, "StepLR", scheduled(StepLR, step_size=1)),
    "cyclic": Case(
        12,
        "CyclicLR",
        scheduled(CyclicLR, base_lr=0.01, max_lr=0.1, step_size_up=3, step_every="batch"),
    ),
    "skorch's own": Case(12, "WarmRestartLR", scheduled("WarmRestartLR", base_period=2)),
    "plateau": Case(
        9,
        "ReduceLROnPlateau",
        scheduled(ReduceLROnPlateau, monitor="valid_loss", patience=0, threshold=9.0),
        SPLIT,
    ),
    "in parts": Case(12, "ExponentialLR", scheduled(ExponentialLR, gamma=0.5), train=fit_in_parts),
    # skorch makes the scheduler anew for each part, by which this kind moves twice.
    "in parts, moved twice": Case(
        12, "StepLR", scheduled(StepLR, step_size=1), train=fit_in_parts, shown=frozenset({"LR030"})
    ),
    "another rate": Case(train=fit_with_another_rate, schedule="step", shown=frozenset({"LR030"})),
    "stopped early": Case(
        9,
        callbacks=lambda: [EarlyStopping(patience=2, threshold=9.0)],
        options={**SPLIT, "max_epochs": 5},
    ),
    "clipped": Case(callbacks=lambda: [GradientNormClipping(0.1)]),
    "accumulated": Case(6, kind=Accumulating),
    "discriminative": Case(
        options={"optimizer__param_groups": [("layers.0.*", {"lr": 0.01})]},
    ),
    "warm start": Case(
        24,
        options={"warm_start": True},
        train=lambda net, rows: net.fit(*rows).fit(*rows),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_the_run_holds(digits, local, name: str) -> None:
    """A run holds the rates, norms and losses of its steps, its schedule, and no false message."""
    case, measured = CASES[name], Measured()
    callbacks = [LRTrack(tracker="local"), measured, *case.callbacks()]
    options = {"max_epochs": 3, **case.options}
    case.train(net_of(callbacks, case.kind, **options), rows_of(digits(batches=4)))
    (history,) = local()
    losses = measured.losses
    if case.kind is Accumulating:
        losses = [sum(pair) for pair in zip(losses[::2], losses[1::2], strict=True)]
    rates = "lr/0" if name == "discriminative" else "lr"

    assert history.steps.tolist() == list(range(case.steps))
    assert history.series(rates)[1].tolist() == measured.rates
    assert history.series("grad_norm")[1].tolist() == pytest.approx(measured.norms, rel=1e-5)
    assert history.series("loss")[1].tolist() == pytest.approx(losses, rel=1e-6)
    assert (history.state, history.run.schedule.name) == (State.FINISHED, case.schedule)
    assert history.run.total_steps in (None, case.steps) or name == "stopped early"
    assert {d["code"] for d in history.run.diagnoses} & FALSE == case.shown


class Killed(Callback):
    """Kills the process in the second epoch."""

    def on_batch_end(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Kills it."""
        if net.history[-1, "epoch"] == 2:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("killed", [True, False], ids=["Checkpoint", "TrainEndCheckpoint"])
def test_a_training_goes_on_from_a_checkpoint(digits, local, in_child, killed: bool) -> None:
    """A net that loads a checkpoint goes on in a run of its own, in the same schedule."""
    rows, schedule = rows_of(digits(batches=4)), LRScheduler(ExponentialLR, gamma=0.5)
    whole = Measured()
    net_of([schedule, whole], max_epochs=3).fit(*rows)

    def begun() -> None:
        ending = [Killed()] if killed else []
        callbacks = [LRTrack(tracker="local"), schedule, kind(dirname="kept"), *ending]
        net_of(callbacks, max_epochs=3 if killed else 1).fit(*rows)

    kind = partial(Checkpoint, monitor=None) if killed else TrainEndCheckpoint
    status = in_child(begun)
    keeping = kind(dirname="kept")
    callbacks = [keeping, LoadInitState(keeping), LRTrack(tracker="local"), schedule]
    net_of(callbacks, max_epochs=2).fit(*rows)
    history, earlier = local()

    assert status == (-signal.SIGKILL if killed else 0)
    assert earlier.state is (State.FAILED if killed else State.FINISHED)
    assert history.steps.tolist() == list(range(8))
    assert history.series("lr")[1].tolist() == whole.rates[4:]
    assert history.series("loss")[1].tolist() == pytest.approx(whole.losses[4:], rel=1e-6)


def test_a_grid_search_in_threads(digits, local) -> None:
    """Clones that train at the same time in threads have each their own rates and losses."""
    net = net_of([("lrtrack", LRTrack(tracker="local"))], NeuralNetClassifier, max_epochs=2)
    grid = {"lr": [0.1, 0.01], "callbacks__lrtrack__group": ["search"]}
    search = GridSearchCV(net, grid, cv=2, scoring="accuracy", refit=False, n_jobs=2)
    inputs, labels = rows_of(digits(batches=4))
    with joblib.parallel_backend("threading", n_jobs=2):
        search.fit(inputs, labels)
    histories = local()

    assert sorted(history.run.config["lr"] for history in histories) == [0.01, 0.01, 0.1, 0.1]
    assert {history.steps.size for history in histories} == {4}
    for history in histories:
        assert set(history.series("lr")[1]) == {history.run.config["lr"]}
        losses, means = history.series("loss")[1], history.series("train_loss")[1]
        assert means.tolist() == pytest.approx([np.mean(losses[:2]), np.mean(losses[2:])])


def test_an_unfrozen_part(digits, local) -> None:
    """A part that is unfrozen in mid-training counts in the norms from then on."""
    measured = Measured()
    frozen = [Unfreezer("layers.0.*", at=2)]

    class Frozen(Unscaled):
        def __init__(self) -> None:
            super().__init__()
            self.layers[0].requires_grad_(False)

    measured.note = lambda optimizer, *_: measured.norms.append(  # type: ignore[method-assign]
        float(
            torch.nn.utils.get_total_norm(
                p.grad.double()
                for g in optimizer.param_groups
                for p in g["params"]
                if p.grad is not None
            )
        )
    )
    callbacks = [LRTrack(tracker="local"), *frozen, measured]
    net_of(callbacks, module=Frozen, max_epochs=3).fit(*rows_of(digits(batches=4)))
    (history,) = local()

    assert history.series("grad_norm")[1].tolist() == pytest.approx(measured.norms, rel=1e-5)


def test_a_pickled_grid_search(digits, local) -> None:
    """A finished search is pickled, and its best net goes on as a run of its own."""
    net = net_of([LRTrack(tracker="local")], NeuralNetClassifier)
    rows = rows_of(digits(batches=4))
    search = GridSearchCV(net, {"lr": [0.1]}, cv=2, scoring="accuracy").fit(*rows)
    best = pickle.loads(pickle.dumps(search)).best_estimator_
    best.partial_fit(*rows)

    assert [history.steps.size for history in local()] == [4, 4, 2, 2]
