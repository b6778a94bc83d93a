"""Norms that are computed at some of the steps only, and those that clipping gives at all."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim import LBFGS, SGD

from .conftest import watched
from .rounds import Pair
from .rounds import watched as watched_rounds


def weight() -> torch.nn.Parameter:
    """A parameter of two numbers, both 0."""
    return torch.nn.Parameter(torch.zeros(2))


def push(optimizer: torch.optim.Optimizer, *gradients: tuple[torch.nn.Parameter, float]) -> None:
    """Make a step in which parameters have gradients of these norms."""
    for parameter, norm in gradients:
        parameter.grad = torch.tensor([0.6, 0.8]) * norm
    optimizer.step()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"norms_every": 3}, [5.0, None, None, 20.0, None, None, 35.0]),
        ({"norms_every": 4, "every": 2}, [5.0, None, 25.0, None]),
        ({"norms_every": 1}, [5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0]),
        ({"norms_every": 3, "norms": "off"}, [None] * 7),
    ],
)
def test_norms_at_each_kth_step(options: dict[str, Any], expected: list[float | None]) -> None:
    """Each k-th step has a norm, from step 0, and all recorded steps have a rate."""
    own = weight()
    with watched(SGD([own], lr=0.5), **options) as recording:
        for step in range(7):
            push(recording.capture.optimizer, (own, 5.0 * (step + 1)))

    assert recording.column("grad_norm") == pytest.approx(expected)
    assert recording.column("lr") == [0.5] * len(expected)


def test_parts_are_measured_at_the_same_steps() -> None:
    """The norms of param groups are those of each k-th step, as that of the whole is."""
    one, two = weight(), weight()
    groups = [{"params": [one], "name": "a"}, {"params": [two], "name": "b"}]
    with watched(SGD(groups, lr=0.5), norms="group", norms_every=2) as recording:
        for _ in range(4):
            push(recording.capture.optimizer, (one, 3.0), (two, 4.0))

    named = [{n: v for n, v in row.items() if "norm" in n} for row in recording.metrics]
    measured = pytest.approx({"grad_norm": 5.0, "grad_norm/a": 3.0, "grad_norm/b": 4.0})
    assert named == [measured, {}, measured, {}]


@pytest.mark.parametrize("norms", ["global", "group"])
def test_clipping_gives_norms_at_each_step(norms: str) -> None:
    """Norms before and after clipping are recorded at each step: nothing is computed for them."""
    own = weight()
    optimizer = SGD([own], lr=0.5)
    with watched(optimizer, norms=norms, norms_every=3) as recording:
        for _ in range(4):
            own.grad = torch.tensor([6.0, 8.0])
            clip_grad_norm_([own], 2.0)
            optimizer.step()

    assert recording.column("grad_norm_preclip") == [10.0] * 4
    assert recording.column("grad_norm") == pytest.approx([2.0] * 4)


def test_gradients_that_change_after_clipping_are_not_measured_in_between() -> None:
    """Where clipping does not give the norm any more, the steps in between have none."""
    own = weight()
    optimizer = SGD([own], lr=0.5)
    with watched(optimizer, norms_every=2) as recording:
        for _ in range(3):
            own.grad = torch.tensor([6.0, 8.0])
            clip_grad_norm_([own], 2.0)
            own.grad.mul_(2.0)
            optimizer.step()

    assert recording.column("grad_norm") == pytest.approx([4.0, None, 4.0])
    assert recording.column("grad_norm_preclip") == [10.0] * 3


def test_closures_are_measured_at_each_kth_step() -> None:
    """A step that gets a closure has its norm at each k-th step, too."""
    own = torch.nn.Parameter(torch.ones(2))
    optimizer = LBFGS([own], lr=0.01, max_iter=1)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = own.sum()
        loss.backward()
        return loss

    with watched(optimizer, norms_every=2) as recording:
        for _ in range(3):
            optimizer.step(closure)

    root = math.sqrt(2.0)
    assert recording.column("grad_norm") == pytest.approx([root, None, root])
    assert recording.column("loss")[0] == 2.0


def test_rounds_are_measured_at_each_kth_round() -> None:
    """With several optimizers, rounds count, and a norm over all needs that of each of them."""
    pair = Pair()
    with watched_rounds(pair.both, norms_every=2) as records:
        for _ in range(4):
            pair.loss(1.0, 3.0, 4.0).backward()
            clip_grad_norm_([pair.one], 1.5)  # gives the norm of one optimizer's gradients alone
            pair.muon.step()
            pair.adamw.step()

    assert records.column("grad_norm") == pytest.approx([math.hypot(1.5, 4.0), None] * 2)
    assert records.column("grad_norm/adamw") == [4.0, None] * 2
    assert records.column("grad_norm/muon") == pytest.approx([1.5] * 4)


def test_the_training_is_the_same() -> None:
    """Weights are bit-equal without lrtrack, and with norms at each or at some of the steps."""

    def train(**options: Any) -> torch.Tensor:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)

        def loop() -> None:
            for _ in range(5):
                optimizer.zero_grad()
                model(torch.randn(16, 4)).square().mean().backward()
                optimizer.step()

        if options:
            with watched(optimizer, **options):
                loop()
        else:
            loop()
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    bare = train()
    assert torch.equal(bare, train(norms_every=1))
    assert torch.equal(bare, train(norms_every=2))
