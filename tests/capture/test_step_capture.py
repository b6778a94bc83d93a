"""Each step's record holds the learning rate, norms and loss that the step used."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import (
    ExponentialLR,
    StepLR,
)

from lrtrack.errors import LRTrackWarning


def test_learning_rate_is_the_one_the_step_used(make, watch) -> None:
    """`lr` is read before the scheduler moves it, at every step, with the time of the step."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    scheduler = StepLR(optimizer, 3, gamma=0.5)
    truth = []
    with watch(optimizer, scheduler) as recording:
        for _ in range(8):
            optimizer.zero_grad()
            loss().backward()
            truth.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()

    assert recording.steps == list(range(8))
    assert recording.times == [float(step) for step in range(8)]
    assert recording.column("lr") == truth == [0.1] * 3 + [0.05] * 3 + [0.025] * 2
    assert recording.metrics[0].keys() == {"lr", "grad_norm", "loss"}


def test_learning_rates_of_several_groups(make, watch) -> None:
    """Each group has its own rate under its name or index; `lr` is that of group 0."""
    model, loss = make()
    groups = [
        {"params": model[0].parameters(), "lr": 0.5, "name": "head"},
        {"params": model[3].parameters(), "lr": torch.tensor(0.25)},
    ]
    optimizer = SGD(groups, lr=1.0)
    with watch(optimizer, norms="off", capture_loss=False) as recording:
        loss().backward()
        optimizer.step()
        optimizer.param_groups[0]["lr"] = 0.125
        optimizer.step()

    assert recording.metrics == [
        {"lr": 0.5, "lr/head": 0.5, "lr/1": 0.25},
        {"lr": 0.125, "lr/head": 0.125, "lr/1": 0.25},
    ]


def test_a_learning_rate_that_is_a_tensor_is_read_when_it_is_used(make, watch) -> None:
    """A tensor that a scheduler overwrites later does not change the record."""
    model, loss = make()
    optimizer = Adam(model.parameters(), lr=torch.tensor(0.5), foreach=False)
    scheduler = ExponentialLR(optimizer, 0.5)
    with watch(optimizer, scheduler) as recording:
        for _ in range(3):
            loss().backward()
            optimizer.step()
            scheduler.step()

    assert recording.column("lr") == [0.5, 0.25, 0.125]


@pytest.mark.parametrize("max_norm", [0.01, 1e6], ids=["clipped", "left as it was"])
def test_norms_before_and_after_clipping(make, watch, norm_of, max_norm: float) -> None:
    """`grad_norm` is what the optimizer receives, `grad_norm_preclip` the norm before clipping."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    before, after = [], []
    with watch(optimizer) as recording:
        for _ in range(4):
            optimizer.zero_grad()
            loss().backward()
            before.append(float(clip_grad_norm_(model.parameters(), max_norm)))
            after.append(norm_of(model.parameters()))
            optimizer.step()

    assert recording.column("grad_norm_preclip") == before
    assert recording.column("grad_norm") == pytest.approx(after, rel=1e-6)


def test_preclip_is_recorded_only_where_clipping_was(make, watch) -> None:
    """A step without clipping has no `grad_norm_preclip`, not even that of the previous step."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    with watch(optimizer) as recording:
        for step in range(4):
            loss().backward()
            if step == 1:
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

    assert [value is not None for value in recording.column("grad_norm_preclip")] == [
        False,
        True,
        False,
        False,
    ]


def test_every_keeps_the_first_of_each_k(make, watch) -> None:
    """With `every=3`, steps 0, 3, 6 are recorded, each with its own loss and norm."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    truth = []
    with watch(optimizer, every=3) as recording:
        for _ in range(8):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            truth.append((value.item(), float(clip_grad_norm_(model.parameters(), 1e6))))
            optimizer.step()

    assert recording.capture.step == 7
    assert recording.steps == [0, 3, 6]
    assert list(
        zip(recording.column("loss"), recording.column("grad_norm_preclip"), strict=True)
    ) == [
        truth[0],
        truth[3],
        truth[6],
    ]


def test_losses_are_left_alone_where_that_is_asked(make, watch) -> None:
    """`capture_loss=False` records no loss, neither from backward nor from a closure."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)

    def closure() -> torch.Tensor:
        value = loss()
        value.backward()
        return value

    with watch(optimizer, capture_loss=False) as recording:
        loss().backward()
        optimizer.step()
        optimizer.step(closure)

    assert [metrics.keys() for metrics in recording.metrics] == [{"lr", "grad_norm"}] * 2


@pytest.mark.parametrize(
    "group",
    [{"betas": 0.9}, {"betas": ()}, {"betas": None}, {"momentum": "much"}, {"momentum": None}],
)
def test_odd_hyper_parameters_hurt_nobody(make, watch, group: dict[str, Any]) -> None:
    """Third-party optimizers may use `betas` and `momentum` for anything."""
    model, loss = make()

    class Odd(torch.optim.Optimizer):
        def step(self, closure: Any = None) -> None:
            pass

    optimizer = Odd(model.parameters(), {"lr": 0.5, **group})
    with watch(optimizer, norms="off") as recording:
        loss().backward()
        optimizer.step()

    assert [metrics.keys() for metrics in recording.metrics] == [{"lr", "loss"}]


def test_an_optimizer_without_a_learning_rate(make, watch) -> None:
    """An optimizer without a learning rate gets one warning and an otherwise complete record."""
    model, loss = make()

    class Own(torch.optim.Optimizer):
        def step(self, closure: Any = None) -> None:
            pass

    optimizer = Own(model.parameters(), {"lr": None})
    truth = []
    with watch(optimizer, norms="off") as recording:
        with pytest.warns(LRTrackWarning, match="the learning rate") as caught:
            for _ in range(2):
                value = loss()
                value.backward()
                truth.append(value.item())
                optimizer.step()

    assert len(caught) == 1
    assert recording.column("loss") == truth


def test_a_compiled_model_is_observed(watch, norm_of) -> None:
    """A compiled model is recorded as an ordinary one."""
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    compiled = torch.compile(model, backend="aot_eager")
    optimizer = SGD(model.parameters(), lr=0.1)
    inputs, truth = torch.randn(8, 4), []
    with watch(optimizer) as recording:
        for _ in range(3):
            optimizer.zero_grad()
            value = compiled(inputs).square().mean()
            value.backward()
            truth.append((value.item(), norm_of(model.parameters())))
            optimizer.step()

    assert recording.column("loss") == [value for value, _ in truth]
    assert recording.column("grad_norm") == pytest.approx([norm for _, norm in truth], rel=1e-6)
