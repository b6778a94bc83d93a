"""The parameters of a description: param groups, functions, tensors and numbers."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as ls
from torch.optim.swa_utils import SWALR

from lrtrack import describe

from .schedulers import (
    HERE,
    Build,
    Decay,
    Foreign,
    halved,
    ramp,
    sgd,
    train,
)


@pytest.mark.parametrize(
    ("build", "key", "expected"),
    [
        (lambda o: ls.OneCycleLR(o, [0.1, 0.2], 100), "max_lr", [0.1, 0.2]),
        (lambda o: ls.OneCycleLR(o, [0.1, 0.2], 100), "div_factor", 25.0),
        (lambda o: ls.CyclicLR(o, [0.01, 0.02], 0.1), "base_lr", [0.01, 0.02]),
        (lambda o: ls.CyclicLR(o, 0.01, [0.1, 0.1]), "max_lr", 0.1),
        (lambda o: ls.ReduceLROnPlateau(o, min_lr=[0.01, 0.02]), "min_lr", [0.01, 0.02]),
        (lambda o: SWALR(o, [0.05, 0.06]), "swa_lr", [0.05, 0.06]),
        (
            lambda o: ls.LambdaLR(o, [halved, math.cos]),
            "lr_lambda",
            [f"{HERE}.halved", "math.cos"],
        ),
        (lambda o: ls.LambdaLR(o, [halved, halved]), "lr_lambda", f"{HERE}.halved"),
    ],
)
def test_param_groups(build: Build, key: str, expected: Any) -> None:
    """Values that all param groups share are described once; otherwise there is a list."""
    params = describe(build(sgd(groups=2))).params

    assert expected == params[key]


def test_group_added_later() -> None:
    """A param group that is added during training does not change a description."""
    optimizer = sgd()
    schedulers = [ls.OneCycleLR(optimizer, 0.1, 100), ls.ReduceLROnPlateau(optimizer, min_lr=0.01)]
    expected = [describe(scheduler) for scheduler in schedulers]
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})

    assert expected == [describe(scheduler) for scheduler in schedulers]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (halved, f"{HERE}.halved"),
        (math.cos, "math.cos"),
        (np.sin, "numpy.sin"),
        (abs, "abs"),
        (lambda epoch: 1.0, f"{__name__}.<lambda>"),
        (functools.lru_cache(halved), f"{HERE}.halved"),
        (functools.partial(ramp, warmup=5), f"{HERE}.ramp(warmup=5)"),
        (
            functools.partial(ramp, power=2.0, shape="cos", warmup=5),
            f'{HERE}.ramp(power=2.0, shape="cos", warmup=5)',
        ),
        (functools.partial(ramp, 1, warmup=5), f"{HERE}.ramp(1, warmup=5)"),
        (functools.partial(ramp, warmup=torch.tensor(5)), f"{HERE}.ramp(warmup=5)"),
        (
            functools.partial(ramp, warmup=5, shape=functools.partial(halved, epoch=1)),
            f"{HERE}.ramp(shape={HERE}.halved(epoch=1), warmup=5)",
        ),
        (functools.partial(ramp, warmup=5, shape=object()), f"{HERE}.ramp(shape=object, warmup=5)"),
        (
            functools.partial(functools.partial(ramp, warmup=5), power=3),
            f"{HERE}.ramp(power=3, warmup=5)",
        ),
        (Decay(0.9, ["a"]), f'{HERE}.Decay(names=["a"], rate=0.9)'),
        (Decay(0.9, []).__call__, f"{HERE}.Decay.__call__(rate=0.9)"),
    ],
)
def test_functions(function: Callable[[int], float], expected: str) -> None:
    """A function is named; a partial and a callable object show their plain parameters too."""
    optimizer = sgd()
    # Some of these functions are not learning-rate factors.
    scheduler = ls.LambdaLR.__new__(ls.LambdaLR)
    scheduler.optimizer, scheduler.lr_lambdas = optimizer, [function]

    assert expected == describe(scheduler).params["lr_lambda"]


def test_a_partials_settings_are_parameters() -> None:
    """Keyword arguments of a partial are parameters if all param groups share them."""
    slow, fast = functools.partial(ramp, warmup=5), functools.partial(ramp, warmup=1)
    optimizer = sgd()
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
    texts = [f"{HERE}.ramp(warmup={warmup})" for warmup in (5, 1)]

    assert {"lr_lambda": texts[0], "warmup": 5} == describe(ls.LambdaLR(sgd(), slow)).params
    assert {"lr_lambda": texts} == describe(ls.LambdaLR(optimizer, [slow, fast])).params


def test_callable_object_keeps_its_text() -> None:
    """Private counters of a callable object do not get into its description."""
    optimizer = sgd()
    scheduler = ls.LambdaLR(optimizer, Decay(0.9, []))
    expected = describe(scheduler)
    train(optimizer, scheduler, 5)

    assert expected == describe(scheduler)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.tensor(0.5), 0.5),
        (torch.tensor(3), 3),
        (np.float64(0.1), 0.1),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([1, 2]), [1, 2]),
        (range(3), [0, 1, 2]),
        ({2, 1}, [1, 2]),
        ({"a": (1, None)}, {"a": [1, None]}),
    ],
)
def test_values_become_plain(given: Any, expected: Any) -> None:
    """Tensors, NumPy numbers and containers become Python numbers, lists and mappings."""
    value = describe(Foreign(sgd(), given=given)).params["given"]

    assert (expected, type(expected)) == (value, type(value))


def test_tensor_learning_rates() -> None:
    """Learning rates in tensors are described as numbers, with their initial values."""
    optimizer = sgd(lr=torch.tensor(0.5), foreach=False)
    scheduler = ls.OneCycleLR(optimizer, torch.tensor(0.5), total_steps=100)
    train(optimizer, scheduler, 30)
    expected = {"max_lr": 0.5, "div_factor": 25.0, "final_div_factor": 10000.0}
    params = describe(scheduler).params

    assert expected == {key: params[key] for key in expected}
