"""Ids of third-party schedulers: of their settings, at any time of a training."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import SGD

from lrtrack.capture.describe import describe, opaque

from .third_party_cases import (
    TIMM,
    TRANSFORMERS,
    timm_schedule,
    timm_schedulers,
    transformers_schedule,
)

Build = Callable[[torch.optim.Optimizer, Any], Any]


def sgd(lr: float = 0.1) -> torch.optim.Optimizer:
    """An optimizer with one parameter."""
    return SGD([torch.nn.Parameter(torch.ones(2))], lr=lr)


def warmed_up(name: str) -> Build:
    """Build a transformers schedule from its steps of warm-up."""
    return lambda o, steps: transformers_schedule(name, o, num_warmup_steps=steps)


def of(name: str, **settings: Any) -> Build:
    """Build a pytorch_optimizer schedule from its first setting."""
    return lambda o, first: getattr(importlib.import_module("pytorch_optimizer"), name)(
        o, first, **settings
    )


RATES = {"max_lr": 0.1, "min_lr": 0.001, "init_lr": 0.01, "warmup_steps": 5}
#: Package, builder, and two settings. The schedules with `min_lr` keep its share of the rate.
CASES: dict[str, tuple[str, Build, Any, Any]] = {
    **{
        f"transformers {name}": ("transformers", warmed_up(name), 2, 3)
        for name, arguments in TRANSFORMERS.items()
        if "num_warmup_steps" in arguments and "min_lr" not in name
    },
    "cosine": ("pytorch_optimizer", of("CosineScheduler", **RATES), 50, 90),
    "linear": ("pytorch_optimizer", of("LinearScheduler", **RATES), 50, 90),
    "polynomial": ("pytorch_optimizer", of("PolyScheduler", t_max=50, **RATES), 0.5, 0.9),
    "restarts": ("pytorch_optimizer", of("CosineAnnealingWarmupRestarts", max_lr=1.0), 9, 7),
    "rex": ("pytorch_optimizer", of("REXScheduler"), 50, 90),
    "stable": (
        "pytorch_optimizer",
        of("get_wsd_schedule", num_stable_steps=9, num_decay_steps=40),
        5,
        9,
    ),
    "chebyshev": ("pytorch_optimizer", of("get_chebyshev_schedule"), 50, 90),
}


@pytest.mark.parametrize(("package", "build", "one", "other"), CASES.values(), ids=CASES)
def test_an_id_is_that_of_the_settings(package: str, build: Build, one: Any, other: Any) -> None:
    """An id depends on the settings alone: not on the optimizer's rate, nor on the training."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}")
    optimizer = sgd()
    scheduler = build(optimizer, one)
    expected = describe(scheduler)

    assert expected == describe(build(sgd(), one)) == describe(build(sgd(0.3), one))
    assert expected.id != describe(build(sgd(), other)).id
    for _ in range(30):
        optimizer.step()
        scheduler.step()
    assert expected == describe(scheduler)
    assert not opaque(scheduler)


@pytest.mark.parametrize("name", TIMM)
def test_timm(name: str) -> None:
    """timm's schedulers keep their id in a training that steps them by epochs or updates."""
    if importlib.util.find_spec("timm") is None:
        pytest.skip("needs timm")
    with timm_schedulers() as schedulers:
        scheduler, same, other = (
            timm_schedule(schedulers, name, sgd(lr), **{**TIMM[name], "warmup_t": warmup})
            for lr, warmup in ((0.1, 2), (0.3, 2), (0.1, 1))
        )
    expected = describe(scheduler)
    for update in range(30):
        scheduler.step(update)
        scheduler.step_update(update)

    assert expected == describe(scheduler) == describe(same)
    assert expected.id != describe(other).id
    assert not opaque(scheduler)
