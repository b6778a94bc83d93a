"""Ignite's own schedulers: their rates, names and parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ignite.engine import (
    Events,
    create_supervised_evaluator,
    create_supervised_trainer,
)
from ignite.handlers import param_scheduler as ignite_schedulers
from ignite.metrics import Accuracy
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau, StepLR

import lrtrack
from lrtrack.integrations.ignite import LRTrack


def ignites_own(optimizer):
    """One of each kind of Ignite's schedulers."""
    own = ignite_schedulers
    return {
        "cosine": own.CosineAnnealingScheduler(optimizer, "lr", 0.2, 0.01, 4, end_value_mult=0.5),
        "cyclical": own.LinearCyclicalScheduler(optimizer, "lr", 0.1, 0.3, 6),
        "piecewise": own.PiecewiseLinear(optimizer, "lr", [(0, 0.1), (6, 0.3), (11, 0.0)]),
        "concat": own.ConcatScheduler(
            [
                own.LinearCyclicalScheduler(optimizer, "lr", 0.0, 0.2, 8),
                own.CosineAnnealingScheduler(optimizer, "lr", 0.2, 0.0, 8),
            ],
            durations=[4],
        ),
    }


@pytest.mark.parametrize("kind", ["cosine", "cyclical", "piecewise", "concat"])
def test_ignites_own_schedulers(kind, digits, local) -> None:
    """Ignite's schedulers record each step's rate, their name and parameters, without a
    diagnosis.
    """
    task, used = digits(), []
    scheduler = ignites_own(task.optimizer)[kind]
    described = lrtrack.describe(scheduler)
    trainer = create_supervised_trainer(task.model, task.optimizer, cross_entropy)
    trainer.add_event_handler(Events.ITERATION_STARTED, scheduler)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda: used.append(task.optimizer.param_groups[0]["lr"])
    )
    LRTrack(task.optimizer, scheduler, tracker="local").attach(trainer)
    trainer.run(task.loader())
    (history,) = local()

    assert history.metrics["lr"].tolist() == used
    assert len(set(used)) > 3
    assert history.run.schedule == described == lrtrack.describe(scheduler)
    assert history.run.schedule.name == type(scheduler).__name__
    assert history.run.diagnoses == ()


def test_how_ignites_schedulers_are_described(digits) -> None:
    """Wrappers of torch schedulers are described as torch's; composed ones with all their parts."""
    optimizer = torch.optim.SGD(digits().model.parameters(), lr=0.1)
    own, describe = ignite_schedulers, lrtrack.describe
    warm = own.create_lr_scheduler_with_warmup(ExponentialLR(optimizer, 0.9), 0.0, 5)
    inside = describe(warm).params["schedulers"]
    piecewise = describe(own.PiecewiseLinear(optimizer, "lr", [(0, 0.1), (5, 0.2)]))
    cosine = describe(own.CosineAnnealingScheduler(optimizer, "lr", 0.2, 0.01, 4))

    assert describe(own.LRScheduler(StepLR(optimizer, 3))) == describe(StepLR(optimizer, 3))
    assert describe(
        own.ReduceLROnPlateauScheduler(optimizer, "accuracy", mode="max", patience=2)
    ) == describe(ReduceLROnPlateau(optimizer, mode="max", patience=2))
    assert inside[1] == {"name": "ExponentialLR", "gamma": 0.9}
    assert inside[0]["schedulers"][0]["milestones_values"] == [[0, 0.0], [4, 0.1]]
    assert describe(warm).params["durations"] == [5]
    assert piecewise.params["milestones_values"] == [[0, 0.1], [5, 0.2]]
    assert {key: cosine.params[key] for key in ("start_value", "end_value", "cycle_size")} == {
        "start_value": 0.2,
        "end_value": 0.01,
        "cycle_size": 4,
    }


def test_a_description_stays_the_same_over_the_cycles(digits) -> None:
    """A description is constant although Ignite multiplies a cycle's values in place."""
    optimizer, own = digits().optimizer, ignite_schedulers
    growing = own.CosineAnnealingScheduler(
        optimizer, "lr", 0.2, 0.01, 4, cycle_mult=1.5, start_value_mult=0.7, end_value_mult=0.3
    )
    warming = own.LinearCyclicalScheduler(
        optimizer, "lr", 0.2, 0.0, 5, cycle_mult=2, start_value_mult=0.3, warmup_duration=3,
        monotonic=True,
    )  # fmt: skip
    for scheduler in (growing, warming):
        before = lrtrack.describe(scheduler)
        for _ in range(50):
            scheduler(None)
            assert lrtrack.describe(scheduler) == before


def test_a_plateau_schedule_on_an_evaluators_metric(digits, local) -> None:
    """The metric given to a plateau schedule is recorded at the trainer's step."""
    task = digits(batches=4)
    trainer = create_supervised_trainer(task.model, task.optimizer, cross_entropy)
    evaluator = create_supervised_evaluator(task.model, metrics={"accuracy": Accuracy()})
    scheduler = ignite_schedulers.ReduceLROnPlateauScheduler(
        task.optimizer, "accuracy", mode="max", patience=0, threshold=10.0
    )
    evaluator.add_event_handler(Events.COMPLETED, scheduler)
    handler = LRTrack(task.optimizer, scheduler, tracker="local").attach(trainer)
    removable = handler.attach_output_handler(evaluator, Events.COMPLETED, tag="val")
    accuracies = []

    @trainer.on(Events.EPOCH_COMPLETED)
    def evaluate():
        evaluator.run(task.loader())
        accuracies.append(evaluator.state.metrics["accuracy"])

    trainer.run(task.loader(), max_epochs=3)
    (history,) = local()
    removable.remove()

    at = [3, 7, 11]
    for name in ("plateau_metric", "val/accuracy"):
        assert np.flatnonzero(history.present[name]).tolist() == at
        assert history.metrics[name][at].tolist() == accuracies
    assert history.metrics["lr"][-1] == pytest.approx(history.metrics["lr"][0] / 10)
