"""Descriptions of all schedulers of torch, before, during and after training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as ls
from torch.optim.swa_utils import SWALR

from lrtrack import Schedule, describe
from lrtrack.capture.describe import call

from .schedulers import (
    HERE,
    Build,
    Decay,
    Halving,
    halved,
    sgd,
    train,
)

PLATEAU = {
    "mode": "min", "factor": 0.1, "patience": 10, "threshold": 1e-4, "threshold_mode": "rel",
    "cooldown": 0, "min_lr": 0, "eps": 1e-8,
}  # fmt: skip


CYCLIC = {
    "base_lr": 0.01, "max_lr": 0.1, "step_size_up": 2000, "step_size_down": 2000,
    "mode": "triangular", "gamma": 1.0, "scale_mode": "cycle", "cycle_momentum": True,
    "base_momentum": 0.8, "max_momentum": 0.9,
}  # fmt: skip


STILL = {"cycle_momentum": False}


ONE_CYCLE = {
    "max_lr": 0.1, "total_steps": 100, "pct_start": 0.3, "anneal_strategy": "cos",
    "cycle_momentum": True, "base_momentum": 0.85, "max_momentum": 0.95, "div_factor": 25.0,
    "final_div_factor": 10000.0, "three_phase": False,
}  # fmt: skip


def without_momentum(params: dict[str, Any]) -> dict[str, Any]:
    others = {k: v for k, v in params.items() if k not in ("base_momentum", "max_momentum")}
    return {**others, **STILL}


TABLE: list[tuple[str, Build, dict[str, Any]]] = [
    ("LambdaLR", lambda o: ls.LambdaLR(o, halved), {"lr_lambda": f"{HERE}.halved"}),
    (
        "MultiplicativeLR",
        lambda o: ls.MultiplicativeLR(o, lr_lambda=halved),
        {"lr_lambda": f"{HERE}.halved"},
    ),
    ("StepLR", lambda o: ls.StepLR(o, 30), {"step_size": 30, "gamma": 0.1}),
    (
        "MultiStepLR",
        lambda o: ls.MultiStepLR(o, [40, 5, 5, 20], gamma=0.5),
        {"milestones": [5, 5, 20, 40], "gamma": 0.5},
    ),
    ("ConstantLR", ls.ConstantLR, {"factor": 1.0 / 3, "total_iters": 5}),
    (
        "LinearLR",
        lambda o: ls.LinearLR(o, start_factor=0.25, total_iters=8),
        {"start_factor": 0.25, "end_factor": 1.0, "total_iters": 8},
    ),
    ("ExponentialLR", lambda o: ls.ExponentialLR(o, 0.9), {"gamma": 0.9}),
    (
        "SequentialLR",
        lambda o: ls.SequentialLR(o, [ls.LinearLR(o), ls.StepLR(o, 9)], milestones=[5]),
        {
            "schedulers": [
                {
                    "name": "LinearLR",
                    "start_factor": 1.0 / 3,
                    "end_factor": 1.0,
                    "total_iters": 5,
                },
                {"name": "StepLR", "step_size": 9, "gamma": 0.1},
            ],
            "milestones": [5],
        },
    ),
    (
        "CosineAnnealingLR",
        lambda o: ls.CosineAnnealingLR(o, 50, eta_min=0.001),
        {"T_max": 50, "eta_min": 0.001},
    ),
    (
        "ChainedScheduler",
        lambda o: ls.ChainedScheduler([ls.ConstantLR(o, 0.5), ls.ExponentialLR(o, 0.9)]),
        {
            "schedulers": [
                {"name": "ConstantLR", "factor": 0.5, "total_iters": 5},
                {"name": "ExponentialLR", "gamma": 0.9},
            ]
        },
    ),
    ("ReduceLROnPlateau", ls.ReduceLROnPlateau, PLATEAU),
    (
        "ReduceLROnPlateau",
        lambda o: ls.ReduceLROnPlateau(o, "max", 0.5, 2, threshold_mode="abs", min_lr=[0.01]),
        PLATEAU
        | {"mode": "max", "factor": 0.5, "patience": 2, "threshold_mode": "abs", "min_lr": 0.01},
    ),
    ("CyclicLR", lambda o: ls.CyclicLR(o, 0.01, 0.1), CYCLIC),
    (
        "CyclicLR",
        lambda o: ls.CyclicLR(o, 0.01, 0.1, 7, 13, mode="exp_range", gamma=0.99, **STILL),
        without_momentum(CYCLIC)
        | {"step_size_up": 7, "step_size_down": 13, "mode": "exp_range", "gamma": 0.99}
        | {"scale_mode": "iterations"},
    ),
    (
        "CyclicLR",
        lambda o: ls.CyclicLR(o, 0.01, 0.1, scale_fn=Decay(0.9, []), scale_mode="iterations"),
        CYCLIC | {"scale_fn": f"{HERE}.Decay(names=[], rate=0.9)", "scale_mode": "iterations"},
    ),
    (
        "CosineAnnealingWarmRestarts",
        lambda o: ls.CosineAnnealingWarmRestarts(o, 3, T_mult=2),
        {"T_0": 3, "T_mult": 2, "eta_min": 0.0},
    ),
    ("OneCycleLR", lambda o: ls.OneCycleLR(o, 0.1, total_steps=100), ONE_CYCLE),
    ("OneCycleLR", lambda o: ls.OneCycleLR(o, 0.1, epochs=10, steps_per_epoch=10), ONE_CYCLE),
    (
        "OneCycleLR",
        lambda o: ls.OneCycleLR(
            o, 0.7, 130, pct_start=0.15, anneal_strategy="linear", base_momentum=0.7,
            max_momentum=0.9, div_factor=7.0, final_div_factor=30.0, three_phase=True,
        ),
        {
            "max_lr": 0.7, "total_steps": 130, "pct_start": 0.15, "anneal_strategy": "linear",
            "cycle_momentum": True, "base_momentum": 0.7, "max_momentum": 0.9, "div_factor": 7.0,
            "final_div_factor": 30.0, "three_phase": True,
        },
    ),
    (
        "OneCycleLR",
        lambda o: ls.OneCycleLR(o, 0.1, total_steps=100, **STILL),
        without_momentum(ONE_CYCLE),
    ),
    ("PolynomialLR", lambda o: ls.PolynomialLR(o, 40), {"total_iters": 40, "power": 1.0}),
    (
        "SWALR",
        lambda o: SWALR(o, 0.05, anneal_epochs=20, anneal_strategy="linear"),
        {"swa_lr": 0.05, "anneal_epochs": 20, "anneal_strategy": "linear"},
    ),
    ("LRScheduler", lambda o: Halving(o, 4), {"period": 4}),
]  # fmt: skip


EACH = pytest.mark.parametrize(
    ("name", "build", "params"), TABLE, ids=[f"{row[0]}{at}" for at, row in enumerate(TABLE)]
)


def class_name(name: str) -> str:
    return {"LRScheduler": "Halving"}.get(name, name)


def test_table_covers_torch() -> None:
    """The table in this file covers every scheduler class that torch exports."""
    covered = {name for name, _, _ in TABLE}

    assert {*ls.__all__, "SWALR"} == covered


@EACH
def test_torch_schedulers(name: str, build: Build, params: dict[str, Any]) -> None:
    """A scheduler is described by its class and the arguments given, or torch's defaults."""
    schedule = describe(build(sgd()))

    assert (class_name(name), params) == (schedule.name, dict(schedule.params))


@EACH
def test_unchanged_by_training(name: str, build: Build, params: dict[str, Any]) -> None:
    """A description taken in the middle or at the end of a training equals the one at the start."""
    optimizer = sgd()
    scheduler = build(optimizer)
    expected = describe(scheduler).spec
    train(optimizer, scheduler, 50)
    middle = describe(scheduler).spec
    train(optimizer, scheduler, 49)

    assert expected == middle
    assert expected == describe(scheduler).spec


@EACH
def test_id_ignores_the_optimizer(name: str, build: Build, params: dict[str, Any]) -> None:
    """Equal schedules have one id, regardless of seed, optimizer and number of groups."""
    expected = describe(build(sgd())).id
    adam = torch.optim.Adam([torch.nn.Parameter(torch.randn(3))], lr=0.003)

    assert expected == describe(build(sgd(seed=7, lr=0.5))).id
    assert expected == describe(build(adam)).id
    if "min_lr" not in params or isinstance(params["min_lr"], int):
        assert expected == describe(build(sgd(groups=3))).id


@EACH
def test_same_after_a_checkpoint(name: str, build: Build, params: dict[str, Any]) -> None:
    """A scheduler restored from its state has the description of the saved one."""
    optimizer = sgd()
    saved = build(optimizer)
    expected = describe(saved)
    train(optimizer, saved, 10)
    state = saved.state_dict()
    restored = build(sgd())
    restored.load_state_dict(state)

    assert expected == describe(restored)


def test_ids_differ_with_parameters() -> None:
    """No two rows of the table that differ in class or parameters share an id."""
    distinct = {(row[0], str(row[2])) for row in TABLE}

    assert len(distinct) == len({describe(build(sgd())).id for _, build, _ in TABLE})


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda o: None, "a8ceff3a"),
        (lambda o: ls.StepLR(o, 30), "77129989"),
        (lambda o: ls.OneCycleLR(o, 0.1, total_steps=100), "a44ae900"),
        (
            lambda o: ls.SequentialLR(
                o, [ls.LinearLR(o, 0.1), ls.CosineAnnealingLR(o, 95)], milestones=[5]
            ),
            "60f6244e",
        ),
    ],
)
def test_ids_stay(build: Build, expected: str) -> None:
    """Ids equal those of earlier versions, so that old runs are grouped with new ones."""
    schedule_id = describe(build(sgd())).id

    assert expected == schedule_id


def test_constant() -> None:
    """Without a scheduler, the description is a constant schedule."""
    schedule = describe(None)

    assert Schedule("constant") == schedule


def test_schedule_is_itself() -> None:
    """The description of a `Schedule` is itself."""
    schedule = Schedule("StepLR", {"step_size": 3, "gamma": 0.5})

    assert schedule is describe(schedule)


def test_deep_nesting() -> None:
    """Schedulers inside schedulers are described to any depth that torch allows."""
    optimizer = sgd()
    chained = ls.ChainedScheduler([ls.ExponentialLR(optimizer, 0.9)])
    inner = ls.SequentialLR(optimizer, [ls.ConstantLR(optimizer, 0.5), chained], milestones=[4])
    tags = describe(ls.ChainedScheduler([inner, ls.StepLR(optimizer, 2)])).flat()

    assert tags == {
        "name": "ChainedScheduler",
        "schedulers.0.name": "SequentialLR",
        "schedulers.0.schedulers.0.name": "ConstantLR",
        "schedulers.0.schedulers.0.factor": "0.5",
        "schedulers.0.schedulers.0.total_iters": "5",
        "schedulers.0.schedulers.1.name": "ChainedScheduler",
        "schedulers.0.schedulers.1.schedulers.0.name": "ExponentialLR",
        "schedulers.0.schedulers.1.schedulers.0.gamma": "0.9",
        "schedulers.0.milestones": "[4]",
        "schedulers.1.name": "StepLR",
        "schedulers.1.step_size": "2",
        "schedulers.1.gamma": "0.1",
    }


def test_the_name_that_a_user_chose() -> None:
    """A scheduler that is called by a name has it in place of its class's; others keep theirs."""
    named, other = ls.LambdaLR(sgd(), halved), ls.LambdaLR(sgd(), halved)
    step = ls.StepLR(sgd(), 2)
    for scheduler in (named, step):
        call(scheduler, "LambdaLR", "halving")
    call(other, "LambdaLR", None)

    assert [describe(s).name for s in (named, other, step)] == ["halving", "LambdaLR", "StepLR"]
    assert describe(named).params == describe(other).params


def test_a_constant_schedule_by_name() -> None:
    """A scheduler that is called `constant` is described as that."""
    scheduler = ls.LambdaLR(sgd(), halved)
    call(scheduler, "LambdaLR", "constant")

    assert describe(scheduler) == Schedule("constant")
