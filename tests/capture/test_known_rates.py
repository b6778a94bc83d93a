"""The effective rates of well-known packages, by what their param groups hold."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from lrtrack.capture.effective_lr import EffectiveRate, effective_rate


class Made(torch.optim.SGD):
    """An optimizer whose groups hold what a test says."""

    def __init__(self, *groups: dict[str, Any], **attributes: Any) -> None:
        super().__init__([torch.nn.Parameter(torch.ones(()))], lr=0.5)
        first = self.param_groups.pop()
        self.param_groups += [{**first, **group} for group in groups]
        vars(self).update(attributes)


def rates(optimizer: Any, change: Any = lambda: None) -> list[Any]:
    """The effective rates of a step that makes a change."""
    rate = effective_rate(optimizer)
    assert isinstance(rate, EffectiveRate)
    rate.begin(optimizer)
    change()
    return rate.rates(optimizer)


@pytest.mark.parametrize(
    ("group", "rate"),
    [
        ({"scheduled_lr": 0.125}, 0.125),
        ({"weight_sum": 1.0, "warmup_steps": 4, "step": 2}, 0.25),
        ({"weight_sum": 1.0, "warmup_steps": 4, "step": 6}, 0.5),
        ({"weight_sum": 1.0, "warmup_steps": 0, "step": 0}, 0.0),
        ({"d": 0.25, "d0": 1e-6}, 0.125),
        ({"d": torch.tensor(0.25), "growth_rate": 1.0}, 0.125),
        ({"d": 0.25, "k": 3, "g0_norm": 4.0}, 0.03125),
        ({"d": 0.25, "k": 3, "g0_norm": torch.tensor(4.0)}, 0.03125),
        ({"relative_step": False, "lr": 0.75}, 0.75),
        ({"relative_step": True, "step": 4}, 1e-2),
        ({"relative_step": True, "step": 40_000}, 1.0 / 200),
        ({"relative_step": True, "warmup_init": True, "step": 4}, 4e-6),
        ({"relative_step": True, "warmup_init": False, "step": torch.tensor(4.0)}, 1e-2),
        ({"relative_step": True}, None),
    ],
)
def test_rates_by_what_a_group_holds(group: dict[str, Any], rate: float | None) -> None:
    """Each package's rate is that of its paper."""
    assert rates(Made(group)) == [rate]


@pytest.mark.parametrize(
    ("group", "count"),
    [
        ({"k": 2, "use_bias_correction": True}, 3),
        ({"k": 2, "bias_correction": True}, 3),
        ({"step": 2, "bias_correction": True}, 3),
        ({"step": 2, "bias_correction": True, "d_max": 1.0}, 2),
    ],
)
def test_the_correction_of_means(group: dict[str, Any], count: int) -> None:
    """Prodigy's rate has Adam's correction for the step, counted as each package counts."""
    betas = (0.9, 0.99, 0.5)
    expected = 0.25 * 0.5 * math.sqrt(1 - 0.99**count) / (1 - 0.9**count)

    assert rates(Made({"d": 0.25, "d0": 1.0, "betas": betas, **group})) == [expected]


def test_what_a_step_changes_is_read_before_it() -> None:
    """The distance is that before the step, and the norm of the first gradient that after it."""
    optimizer = Made({"d": 0.25, "k": 0}, {"d": 0.75, "k": 0})

    def step() -> None:
        for group in optimizer.param_groups:
            group.update(d=99.0, g0_norm=2.0)

    assert rates(optimizer, step) == [0.0625, 0.1875]


def test_a_distance_alone_is_no_sign() -> None:
    """A group with a key `d` and nothing else of D-Adaptation has no effective rate."""
    assert effective_rate(Made({"d": 1.0})) is None


@pytest.mark.parametrize(("steps", "rate"), [(1, 0.5), (16, 0.25)])
def test_adafactor_of_torch(steps: int, rate: float) -> None:
    """Torch's Adafactor takes the smaller one of its rate and 1/√step; None before the first."""
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adafactor([weight], lr=0.5)
    before = rates(optimizer)
    for _ in range(steps):
        weight.grad = torch.ones(2)
        optimizer.step()

    assert (before, rates(optimizer)) == ([None], [rate])


class Bent(Made):
    """An optimizer that bends its rate as Ranger21 does."""

    def warm_up_dampening(self, rate: float, step: int) -> float:
        """Notes the call in its object."""
        self.called = step
        return rate * step

    def warm_down(self, rate: float, step: int) -> float:
        """Adds to it."""
        return rate + step


def test_a_rate_that_an_optimizer_bends() -> None:
    """Its methods are called on a stand-in, and not at all if they are switched off."""
    optimizer = Bent({"step": 3, "lr": 0.5})

    assert rates(optimizer) == [4.5]
    assert "called" not in vars(optimizer)
    assert effective_rate(Bent({"step": 3}, disable_lr_scheduler=True)) is None
