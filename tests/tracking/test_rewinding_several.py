"""A checkpoint of several optimizers takes their training back, one of a single one does not."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import ExponentialLR

import lrtrack


class Loop:
    """A training of two optimizers whose losses tell which course a record is of."""

    def __init__(self, first: type[Optimizer], second: type[Optimizer], *, scheduled: bool) -> None:
        self.weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
        self.optimizers = {"first": first([self.weights[0]]), "second": second([self.weights[1]])}
        self.schedulers: dict[str, Any] = {
            name: ExponentialLR(optimizer, 0.9) if scheduled else None
            for name, optimizer in self.optimizers.items()
        }

    def track(self, **options: Any) -> Any:
        """Returns the block of this training."""
        return lrtrack.track(self.optimizers, self.schedulers, tracker="local", **options)

    def train(self, rounds: int, loss: float, critic: int = 0) -> None:
        """Trains; each round ends with both optimizers, after `critic` steps of the second."""
        for _ in range(rounds):
            for _ in range(critic):
                self._backward(loss, self.weights[1:])
                self.optimizers["second"].step()
            self._backward(loss, self.weights)
            for name in ("second", "first"):
                self.optimizers[name].step()
                if self.schedulers[name] is not None:
                    self.schedulers[name].step()

    def parts(self) -> list[Any]:
        """Everything that a checkpoint holds."""
        schedulers = [part for part in self.schedulers.values() if part is not None]
        return [*self.optimizers.values(), *schedulers]

    def saved(self) -> list[Any]:
        """A checkpoint."""
        return [copy.deepcopy(part.state_dict()) for part in self.parts()]

    def load(self, saved: Sequence[Any], which: Sequence[int] = (0, 1, 2, 3)) -> None:
        """Returns to some parts of a checkpoint, which torch would otherwise share."""
        for at, (part, state) in enumerate(zip(self.parts(), saved, strict=True)):
            if at in which:
                part.load_state_dict(copy.deepcopy(state))

    def _backward(self, loss: float, weights: Sequence[torch.Tensor]) -> None:
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        (sum(weight.sum() * 0.0 for weight in weights) + loss).backward()


KINDS = pytest.mark.parametrize(
    ("first", "second", "scheduled"),
    [(Adam, Adam, False), (SGD, Adam, False), (SGD, SGD, True), (Adam, SGD, True)],
)


@KINDS
def test_all_are_loaded(first: Any, second: Any, scheduled: bool, local) -> None:
    """The round of the checkpoint is found by whichever optimizer or scheduler tells it."""
    loop = Loop(first, second, scheduled=scheduled)
    with loop.track() as run:
        loop.train(4, 1.0)
        saved = loop.saved()
        loop.train(6, 2.0)
        loop.load(saved)
        at = run.step
        loop.train(3, 3.0)
    (history,) = local()

    assert (at, run.step) == (3, 6)
    assert history.metrics["loss"].tolist() == [1.0] * 4 + [3.0] * 3
    assert history.fields()["rewound"] == "4-9"


@pytest.mark.parametrize("which", [(0,), (1,), (0, 2), (1, 3), (2,)])
def test_one_is_put_back_alone(which: tuple[int, ...], local) -> None:
    """A training goes on if only one of its optimizers returns to an earlier state."""
    loop = Loop(Adam, Adam, scheduled=True)
    with loop.track() as run:
        loop.train(4, 1.0)
        saved = loop.saved()
        loop.train(6, 2.0)
        loop.load(saved, which)
        loop.train(3, 3.0)
    (history,) = local()

    assert run.step == 12
    assert history.metrics["loss"].tolist() == [1.0] * 4 + [2.0] * 6 + [3.0] * 3
    assert "rewound" not in history.fields()


@pytest.mark.parametrize("within", [True, False], ids=["in the block", "before the block"])
@KINDS
def test_a_resumed_run(first: Any, second: Any, scheduled: bool, within: bool, local) -> None:
    """A new process that loads an older checkpoint abandons the rounds after it."""
    loop = Loop(first, second, scheduled=scheduled)
    with loop.track() as run:
        loop.train(4, 1.0)
        saved = loop.saved()
        loop.train(6, 2.0)
    loop = Loop(first, second, scheduled=scheduled)
    if not within:
        loop.load(saved)
    with loop.track(resume=run.id) as again:
        if within:
            loop.load(saved)
        loop.train(2, 3.0)
    (history,) = local()

    assert again.step == 5
    assert history.metrics["loss"].tolist() == [1.0] * 4 + [3.0] * 2


@pytest.mark.parametrize("resumed", [False, True], ids=["in the block", "resumed"])
@pytest.mark.parametrize("order", [("first", "second"), ("second", "first")])
def test_a_critic_that_steps_more_often(order: tuple[str, str], resumed: bool, local) -> None:
    """The optimizers' own counts differ, and both tell the same round."""

    def new() -> Loop:
        loop = Loop(Adam, Adam, scheduled=False)
        loop.optimizers = {name: loop.optimizers[name] for name in order}
        return loop

    loop = new()
    with loop.track() as run:
        loop.train(3, 1.0, critic=2)
        saved = loop.saved()
        loop.train(4, 2.0, critic=2)
        if not resumed:
            loop.load(saved)
            loop.train(2, 3.0, critic=2)
    if resumed:
        loop = new()
        loop.load(saved)
        with loop.track(resume=run.id):
            loop.train(2, 3.0, critic=2)
    (history,) = local()

    steps, present = history.series("lr/first")
    assert history.fields()["rewound"] == "9-20"
    assert history.metrics["loss"].tolist() == [1.0] * 9 + [3.0] * 6
    assert steps.tolist() == [2, 5, 8, 11, 14]
    assert len(present) == 5


def test_steps_outside_of_the_block_are_no_checkpoint(local) -> None:
    """An optimizer that was not loaded, but has made a few steps elsewhere, returns nowhere."""

    def stepped(steps: int) -> tuple[Adam, Callable[[int], None]]:
        weight = torch.nn.Parameter(torch.ones(2))
        optimizer = Adam([weight])

        def train(steps: int) -> None:
            for _ in range(steps):
                optimizer.zero_grad()
                weight.sum().backward()
                optimizer.step()

        train(steps)
        return optimizer, train

    optimizer, train = stepped(0)
    with lrtrack.track(optimizer, tracker="local") as run:
        train(10)
    optimizer, train = stepped(3)
    with lrtrack.track(optimizer, tracker="local", resume=run.id) as again:
        train(4)
    (history,) = local()

    assert again.step == 13
    assert "rewound" not in history.fields()


def test_the_state_of_another_run_at_the_start(local) -> None:
    """A fine-tuning that loads an optimizer's state before its first step begins at step 0."""
    loop = Loop(Adam, Adam, scheduled=False)
    loop.train(30, 1.0)
    saved = loop.saved()
    loop = Loop(Adam, Adam, scheduled=False)
    with loop.track() as run:
        loop.load(saved)
        loop.train(5, 2.0)
    (history,) = local()

    assert run.step == 4
    assert history.steps.tolist() == list(range(5))
    assert "rewound" not in history.fields()
