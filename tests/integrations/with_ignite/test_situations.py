"""Ignite's schedulers attached before and after LRTrack; the truth is what the loop measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from ignite.handlers import param_scheduler as own
from ignite.handlers import state_param_scheduler as state_schedulers
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR, StepLR

from lrtrack.integrations.ignite import LRTrack

#: Codes that would be false in each of these trainings.
FALSE = {"LR001", "LR002", "LR013", "LR015", "LR030", "LR031"}


def two_groups(optimizer: Any) -> Any:
    """One schedule for each param group."""
    return own.ParamGroupScheduler(
        [
            own.LinearCyclicalScheduler(optimizer, "lr", 0.1, 0.3, 6, param_group_index=0),
            own.CosineAnnealingScheduler(optimizer, "lr", 0.2, 0.01, 8, param_group_index=1),
        ]
    )


def warmed(optimizer: Any) -> Any:
    """A torch schedule after a warm-up."""
    return own.create_lr_scheduler_with_warmup(ExponentialLR(optimizer, 0.8), 0.0, 4)


def warmed_own(optimizer: Any) -> Any:
    """One of Ignite's schedules after a warm-up."""
    cosine = own.CosineAnnealingScheduler(optimizer, "lr", 0.2, 0.0, 12)
    return own.create_lr_scheduler_with_warmup(cosine, 0.0, 4)


def chained(optimizer: Any) -> Any:
    """Two of Ignite's schedules, one after the other."""
    return own.ConcatScheduler(
        [
            own.LinearCyclicalScheduler(optimizer, "lr", 0.0, 0.2, 8),
            own.CosineAnnealingScheduler(optimizer, "lr", 0.2, 0.0, 8),
        ],
        durations=[4],
    )


SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "PiecewiseLinear": lambda o: own.PiecewiseLinear(o, "lr", [(0, 0.1), (6, 0.3), (11, 0.0)]),
    "LinearCyclicalScheduler": lambda o: own.LinearCyclicalScheduler(o, "lr", 0.1, 0.3, 6),
    "CosineAnnealingScheduler": lambda o: own.CosineAnnealingScheduler(o, "lr", 0.2, 0.01, 4),
    "ConcatScheduler": chained,
    "ParamGroupScheduler": two_groups,
    "LRScheduler": lambda o: own.LRScheduler(StepLR(o, 3, 0.5)),
    "LRScheduler of a function": lambda o: own.LRScheduler(LambdaLR(o, lambda at: 0.9**at)),
    "create_lr_scheduler_with_warmup": warmed,
    "create_lr_scheduler_with_warmup of Ignite's": warmed_own,
}
STATES: dict[str, Callable[[], Any]] = {
    "ExpStateScheduler": lambda: state_schedulers.ExpStateScheduler(
        0.1, 0.9, "rate", create_new=True
    ),
    "StepStateScheduler": lambda: state_schedulers.StepStateScheduler(
        0.1, 0.5, 3, "rate", create_new=True
    ),
    "MultiStepStateScheduler": lambda: state_schedulers.MultiStepStateScheduler(
        0.1, 0.5, [3, 6], "rate", create_new=True
    ),
    "LambdaStateScheduler": lambda: state_schedulers.LambdaStateScheduler(
        lambda at: 0.1 / at, "rate", create_new=True
    ),
    "PiecewiseLinearStateScheduler": lambda: state_schedulers.PiecewiseLinearStateScheduler(
        [(0, 0.1), (6, 0.3), (12, 0.0)], "rate", create_new=True
    ),
}


class Loop:
    """A trainer's own step, which notes what it uses."""

    def __init__(self, task: Any, groups: int = 1) -> None:
        layers = [task.model[0], task.model[2]]
        parts = [list(layer.parameters()) for layer in layers]
        split = parts if groups == 2 else [[p for part in parts for p in part]]
        self.task = task
        self.optimizer = torch.optim.SGD([{"params": part} for part in split], lr=0.1)
        self.rates: list[list[float]] = []
        self.norms: list[float] = []
        self.losses: list[float] = []
        self.engine = Engine(self.step)

    def step(self, engine: Any, batch: Any) -> None:
        """Makes one optimizer step."""
        if hasattr(engine.state, "rate"):
            for group in self.optimizer.param_groups:
                group["lr"] = engine.state.rate
        self.optimizer.zero_grad()
        loss = cross_entropy(self.task.model(batch[0]), batch[1])
        loss.backward()
        self.rates.append([group["lr"] for group in self.optimizer.param_groups])
        self.losses.append(loss.item())
        norms = [p.grad.double().norm() for p in self.task.model.parameters()]
        self.norms.append(float(torch.stack(norms).norm()))
        self.optimizer.step()

    def matches(self, history: Any, steps: dict[str, dict[int, float]]) -> None:
        """Asserts that a run holds what was measured."""
        first = self.rates[0]
        rates = [steps["lr"]] if len(first) == 1 else [steps["lr/0"], steps["lr/1"]]

        assert history.steps.tolist() == list(range(12))
        assert [list(column.values()) for column in rates] == [
            list(c) for c in zip(*self.rates, strict=True)
        ]
        assert list(steps["lr"].values()) == [rates[0] for rates in self.rates]
        assert list(steps["loss"].values()) == self.losses
        assert list(steps["grad_norm"].values()) == pytest.approx(self.norms, rel=1e-5)
        assert not {d["code"] for d in history.run.diagnoses} & FALSE


@pytest.mark.parametrize("attached", ["before", "after"])
@pytest.mark.parametrize("event", [Events.ITERATION_STARTED, Events.ITERATION_COMPLETED])
@pytest.mark.parametrize("kind", SCHEDULERS)
def test_every_scheduler(digits, local, steps_of, kind: str, event: Any, attached: str) -> None:
    """The rates of each scheduler are those of the steps, wherever and whenever it is attached."""
    loop = Loop(digits(), groups=2 if kind == "ParamGroupScheduler" else 1)
    scheduler = SCHEDULERS[kind](loop.optimizer)
    if attached == "before":
        loop.engine.add_event_handler(event, scheduler)
    handler = LRTrack(loop.optimizer, scheduler, tracker="local").attach(loop.engine)
    if attached == "after":
        loop.engine.add_event_handler(event, scheduler)
    loop.engine.run(loop.task.loader())
    (history,) = local()

    assert handler.run is None
    assert len({tuple(rates) for rates in loop.rates}) > 3
    assert not history.run.schedule.name.startswith("constant")
    loop.matches(history, steps_of(history))


@pytest.mark.parametrize("attached", ["before", "after"])
@pytest.mark.parametrize("kind", STATES)
def test_every_scheduler_of_a_state(digits, local, steps_of, kind: str, attached: str) -> None:
    """A rate that the loop takes from the engine's state is recorded, with an inferred schedule."""
    loop = Loop(digits())
    scheduler = STATES[kind]()
    if attached == "before":
        scheduler.attach(loop.engine, Events.ITERATION_STARTED)
    LRTrack(loop.optimizer, tracker="local").attach(loop.engine)
    if attached == "after":
        scheduler.attach(loop.engine, Events.ITERATION_STARTED)
    loop.engine.run(loop.task.loader())
    (history,) = local()

    assert len({tuple(rates) for rates in loop.rates}) >= 3
    assert history.run.schedule.source == "inferred"
    assert history.run.schedule.name != "constant"
    loop.matches(history, steps_of(history))


@pytest.mark.parametrize("attached", ["before", "after"])
def test_a_plateau_scheduler_on_the_loss(digits, local, steps_of, attached: str) -> None:
    """A plateau schedule on the trainer's own state is followed, on whichever side it is."""
    loop = Loop(digits())
    scheduler = own.ReduceLROnPlateauScheduler(
        loop.optimizer, "loss", trainer=loop.engine, patience=1, threshold=10.0
    )

    def note(engine: Any) -> None:
        engine.state.metrics["loss"] = loop.losses[-1]

    loop.engine.add_event_handler(Events.ITERATION_COMPLETED, note)
    if attached == "before":
        loop.engine.add_event_handler(Events.ITERATION_COMPLETED, scheduler)
    LRTrack(loop.optimizer, scheduler, tracker="local").attach(loop.engine)
    if attached == "after":
        loop.engine.add_event_handler(Events.ITERATION_COMPLETED, scheduler)
    loop.engine.run(loop.task.loader())
    (history,) = local()
    steps = steps_of(history)

    assert len({tuple(rates) for rates in loop.rates}) > 2
    assert history.run.schedule.name == "ReduceLROnPlateau"
    assert list(steps["plateau_metric"].values()) == loop.losses
    loop.matches(history, steps)
