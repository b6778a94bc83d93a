"""skorch's nets with the callback, compared with the same training as a plain loop."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from lrtrack.errors import UsageError
from lrtrack.records import State

pytest.importorskip("skorch", reason="needs skorch")
from skorch import NeuralNet, NeuralNetClassifier
from skorch.callbacks import Callback, LRScheduler
from skorch.dataset import ValidSplit

from lrtrack.integrations.skorch import LRTrack


class Unscaled(torch.nn.Module):
    """A new network with the weights of the tasks of these tests."""

    def __init__(self, units: int = 16) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(64, units), torch.nn.ReLU(), torch.nn.Linear(units, 10)
        )

    def forward(self, X: torch.Tensor) -> torch.Tensor:  # skorch's own name
        """Returns scores, shape (n, 10)."""
        return self.layers(X)


def net_of(callbacks: list[Any], kind: Any = NeuralNet, **options: Any) -> Any:
    """A silent net that trains in the order of its rows."""
    given = {
        "module": Unscaled,
        "criterion": torch.nn.CrossEntropyLoss,
        "optimizer": torch.optim.SGD,
        "lr": 0.1,
        "optimizer__momentum": 0.9,
        "batch_size": 16,
        "max_epochs": 1,
        "train_split": None,
        "verbose": 0,
        **options,
    }
    return kind(callbacks=callbacks, **given)


def rows_of(task: Any) -> tuple[Any, Any]:
    """The task's rows as NumPy arrays."""
    return tuple(rows.numpy() for rows in task.rows)


def one_cycle(steps: int) -> LRScheduler:
    """The tasks' schedule as a callback, listed after lrtrack's on purpose."""
    return LRScheduler(OneCycleLR, max_lr=0.2, total_steps=steps, step_every="batch")


def test_records_equal_those_of_a_plain_loop(digits, local, steps_of) -> None:
    """Records equal those of a plain loop bit for bit, and the schedule is the callback's."""
    task, plain = digits(), digits().plain()
    net_of([LRTrack(tracker="local", seed=1), one_cycle(12)], max_epochs=1).fit(*rows_of(task))
    (history,) = local()
    steps, expected = steps_of(history), steps_of(plain)

    assert steps.pop("train_loss") == {11: pytest.approx(np.mean(list(expected["loss"].values())))}
    assert steps["loss"] == expected["loss"]
    assert history.steps.tolist() == list(range(12))
    assert history.run.schedule.name == "OneCycleLR"
    assert (history.state, history.run.seed, history.run.total_steps) == (State.FINISHED, 1, 12)
    assert history.run.config["lr"] == 0.1
    assert history.run.config["optimizer__momentum"] == 0.9


def test_rates_are_those_that_the_steps_used(digits, local) -> None:
    """The recorded rates are those that skorch's history has for each batch."""
    net = net_of([LRTrack(tracker="local"), one_cycle(12)])
    net.fit(*rows_of(digits()))

    assert local()[0].series("lr")[1].tolist() == net.history[0, "batches", :, "event_lr"]


def test_weights_are_the_same_without(digits) -> None:
    """Weights are bit-equal with and without lrtrack."""
    states = []
    for callbacks in ([], [LRTrack(tracker="local", norms="group")]):
        net = net_of([*callbacks, one_cycle(24)], max_epochs=2).fit(*rows_of(digits()))
        states.append(torch.cat([p.detach().flatten() for p in net.module_.parameters()]))

    assert torch.equal(*states)


def test_scores_are_logged_at_the_end_of_their_epoch(digits, local) -> None:
    """Losses and scores of the history are logged at their epoch's last step."""
    options: dict[str, Any] = {"max_epochs": 3, "train_split": ValidSplit(5)}
    plateau = LRScheduler(ReduceLROnPlateau, monitor="valid_loss", patience=0)
    callbacks = [LRTrack(tracker="local"), plateau]
    net = net_of(callbacks, NeuralNetClassifier, **options).fit(*rows_of(digits()))
    (history,) = local()

    for name in ("train_loss", "valid_loss", "valid_acc"):
        steps, values = history.series(name)
        assert steps.tolist() == [9, 19, 29]
        assert values.tolist() == net.history[:, name]
    assert history.run.schedule.name == "ReduceLROnPlateau"


def test_a_partial_fit_continues_the_run(digits, local) -> None:
    """`partial_fit` continues the run of the fit before, and a new `fit` is a new run."""
    net, rows = net_of([LRTrack(tracker="local")]), rows_of(digits(batches=4))
    net.fit(*rows)
    net.partial_fit(*rows, epochs=2)
    assert [(h.steps.tolist(), h.run.total_steps) for h in local()] == [(list(range(12)), 12)]
    net.fit(*rows)

    assert [(len(h.steps), h.run.total_steps) for h in local()] == [(4, 4), (12, 12)]


def test_clones_of_a_grid_search_are_runs_of_their_own(digits, local) -> None:
    """Each clone of a grid search is a run with its own settings, and options can be set."""
    net = net_of([("lrtrack", LRTrack(tracker="local", seed=2))], NeuralNetClassifier)
    copied = clone(net)
    assert copied.callbacks[0][1].seed == 2
    search = GridSearchCV(
        net,
        {"lr": [0.1, 0.2], "callbacks__lrtrack__group": ["search"]},
        cv=2,
        scoring="accuracy",
        refit=False,
    )
    search.fit(*rows_of(digits(batches=4)))
    runs = [history.run for history in local()]

    assert sorted(run.config["lr"] for run in runs) == [0.1, 0.1, 0.2, 0.2]
    assert {(run.group, run.seed) for run in runs} == {("search", 2)}


def test_a_trained_net_is_pickled_without_its_run(digits, local) -> None:
    """A trained net can be pickled; the copy continues as a new run."""
    rows = rows_of(digits(batches=2))
    net = net_of([LRTrack(tracker="local")]).fit(*rows)
    copied = pickle.loads(pickle.dumps(net))
    copied.partial_fit(*rows)

    assert [len(history.steps) for history in local()] == [2, 2]


def test_a_fit_that_breaks_is_failed(digits, local) -> None:
    """A fit that an exception leaves is FAILED, once the net is trained again."""

    class Breaking(Callback):
        broken = False

        def on_batch_end(self, net: Any, **kwargs: Any) -> None:
            if not Breaking.broken:
                Breaking.broken = True
                raise RuntimeError("broken")

    net, rows = net_of([LRTrack(tracker="local"), Breaking()]), rows_of(digits(batches=3))
    with pytest.raises(RuntimeError, match="broken"):
        net.fit(*rows)
    net.fit(*rows)

    found = [(history.state, len(history.steps)) for history in local()]
    assert found == [(State.FINISHED, 3), (State.FAILED, 1)]


def test_wrong_options_are_refused_at_once() -> None:
    """A misspelt option and an invalid value are refused where the callback is made."""
    with pytest.raises(TypeError, match="experimnt"):
        LRTrack(experimnt="x")
    with pytest.raises(UsageError, match="at least 1"):
        LRTrack(every=0)
