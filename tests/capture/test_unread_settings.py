"""What is no setting of a schedule, what cannot be read, and what must not be asked for."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as ls

from lrtrack import describe
from lrtrack.capture.describe import opaque

from .schedulers import HERE, Decay, halved, ramp, sgd
from .setting_cases import run


def counting(width: int) -> Callable[[int], float]:
    calls, counts, seen = 0, [0], {"steps": 0}

    def factor(step: int) -> float:
        nonlocal calls
        calls += 1
        counts[0] += 1
        seen.update(steps=step)
        return 1 / (width + 0 * (calls + counts[0] + seen["steps"]))

    return factor


def test_variables_that_a_function_changes_are_no_settings() -> None:
    """Counters in a closure, whether rebound or changed in place, stay out of a description."""
    text = f"{__name__}.counting.<locals>.factor(width=5)"
    optimizer = sgd()
    scheduler = ls.LambdaLR(optimizer, counting(5))
    run(optimizer, scheduler, 3)

    assert {"lr_lambda": text, "width": 5} == describe(scheduler).params


def test_variables_that_the_surrounding_function_changes_are_no_settings() -> None:
    """A variable that is assigned again after the function was made is not its setting."""
    width, epoch = 5, 0
    optimizer = sgd()
    scheduler = ls.LambdaLR(optimizer, lambda step: 1 / (width + epoch))
    expected = describe(scheduler)
    for epoch in range(3):  # noqa: B007
        run(optimizer, scheduler, 2)

    assert expected == describe(scheduler)
    assert expected.params["width"] == 5
    assert "epoch" not in expected.params


def test_variables_of_a_loop_around_are_settings() -> None:
    """A function made anew in each round of a loop has that round's values."""
    ids = [describe(ls.LambdaLR(sgd(), lambda step: 1 / w)).id for w in (5, 9)]  # noqa: B023
    again = []
    for width in (5, 9, 5):
        again.append(describe(ls.LambdaLR(sgd(), lambda step: 1 / width)).id)  # noqa: B023

    assert ids[0] != ids[1]
    assert again[0] == again[2] != again[1]


class Native:
    """A callable whose settings only C code sees."""

    __call__ = np.sin


def with_object(thing: Any) -> Callable[[int], float]:
    return lambda step: float(thing(step))


def with_length(thing: Any) -> Callable[[int], float]:
    return lambda step: step / len(thing)


class Draining:
    """Keeps its argument only where the training uses it up."""

    def __init__(self, optimizer: Any, budget: int) -> None:
        self.optimizer = optimizer
        self.budget = budget

    def step(self) -> None:
        self.budget -= 1


@pytest.mark.parametrize(
    ("expected", "build"),
    [
        (False, lambda o: None),
        (False, lambda o: ls.StepLR(o, 3)),
        (False, lambda o: ls.LambdaLR(o, halved)),
        (False, lambda o: ls.LambdaLR(o, math.cos)),
        (False, lambda o: ls.LambdaLR(o, Decay(0.9, []))),
        (False, lambda o: ls.LambdaLR(o, lambda step: 0.9**step)),
        (True, lambda o: ls.LambdaLR(o, lambda step: 1 / (1 + step))),
        (True, lambda o: ls.LambdaLR(o, torch.linspace(1, 0, 100).__getitem__)),
        (True, lambda o: ls.LambdaLR(o, ([1.0] * 100).__getitem__)),
        (True, lambda o: ls.LambdaLR(o, Native())),
        (True, lambda o: ls.LambdaLR(o, torch.nn.Identity())),
        (True, lambda o: ls.LambdaLR(o, functools.partial(ramp, warmup=5, shape=object()))),
        (False, lambda o: ls.LambdaLR(o, with_object(np.poly1d([1, 2])))),
        (True, lambda o: ls.LambdaLR(o, with_object(torch.nn.Identity()))),
        (True, lambda o: ls.LambdaLR(o, with_length(torch.ones(3)))),
        (False, lambda o: ls.LambdaLR(o, with_length([1.0, 0.5, 0.2]))),
        (True, lambda o: ls.ChainedScheduler([ls.LambdaLR(o, with_length(torch.ones(3)))])),
        (True, lambda o: Draining(o, 30)),
    ],
)
def test_what_a_description_cannot_tell(expected: bool, build: Callable[[Any], Any]) -> None:
    """A schedule is opaque if something that may hold its settings cannot be read."""
    assert expected == opaque(build(sgd()))


def test_a_function_that_contains_itself() -> None:
    """Functions that refer to themselves or to each other are described."""

    def one(step: int) -> float:
        return 1.0 if step < 3 else other(step - 1)

    def other(step: int) -> float:
        return one(step - 1)

    schedule = describe(ls.LambdaLR(sgd(), one))

    assert schedule.id == describe(ls.LambdaLR(sgd(), one)).id
    assert f"{HERE.rpartition('.')[0]}" in schedule.params["lr_lambda"]


class Warming(ls.LambdaLR):
    """A class whose function is its own method, or one that holds it."""

    def __init__(self, optimizer: Any, width: int, own: bool = True) -> None:
        self.width = width
        super().__init__(optimizer, self.factor if own else lambda step: self.factor(step))

    def factor(self, step: int) -> float:
        return min(1.0, (step + 1) / self.width)


def test_a_class_with_its_own_function() -> None:
    """A function that is a method of its scheduler leaves the settings to the scheduler."""
    text = f"{__name__}.Warming.factor"

    assert {"lr_lambda": text, "width": 5} == describe(Warming(sgd(), 5)).params
    assert describe(Warming(sgd(), 5)).id != describe(Warming(sgd(), 9)).id
    assert not opaque(Warming(sgd(), 5))


SCRIPT = """
warmup, factor, rounds = 5, 1.0, 0
def count():
    global rounds
    rounds += 1
    return 1
def at(step): return factor * min(1, (step + 1) / (warmup + 0 * rounds))
scheduler = build(at)
before = describe(scheduler)
for round in range(3):
    factor = 0.5 * factor
    count()
    after = describe(scheduler)
"""


def test_variables_that_a_program_changes_are_no_settings() -> None:
    """A program's variables are settings of its functions unless it assigns them again."""
    scope: dict[str, Any] = {
        "__name__": "__main__",
        "build": lambda function: ls.LambdaLR(sgd(), function),
        "describe": describe,
    }
    exec(SCRIPT, scope)

    assert scope["before"].params == {"lr_lambda": "__main__.at(warmup=5)", "warmup": 5}
    assert scope["before"] == scope["after"]


class Disguised:
    """An object that fails whenever anything is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __len__(self) -> int:
        raise RuntimeError


class Holding:
    def __init__(self, optimizer: Any, width: int, thing: Any) -> None:
        self.optimizer, self.width, self.thing = optimizer, width, thing

    def step(self) -> None: ...


def test_hostile_settings() -> None:
    """An object that fails when it is asked spoils neither a description nor other settings."""
    width, thing, itself = 5, Disguised(), []
    itself.append(itself)
    function = ls.LambdaLR(sgd(), lambda step: 1.0 if thing is itself else 1 / width)

    assert describe(Holding(sgd(), 5, thing)) == describe(Holding(sgd(), 5, itself))
    assert describe(Holding(sgd(), 5, thing)).params == {"width": 5}
    assert opaque(Holding(sgd(), 5, thing))
    assert opaque(function)
    assert describe(function).id == describe(function).id


class Loud:
    """An object whose properties and texts must not be asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @property
    def width(self) -> int:
        self.asked.append("width")
        return 5

    def __repr__(self) -> str:
        self.asked.append("repr")
        return "Loud"

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def test_no_code_of_the_user_runs() -> None:
    """Describing a function calls neither it, nor properties, nor `repr`."""
    loud, calls = Loud(), []

    def factor(step: int) -> float:
        calls.append(step)
        return 1 / loud.width

    scheduler = ls.LambdaLR.__new__(ls.LambdaLR)
    scheduler.optimizer, scheduler.lr_lambdas = sgd(), [factor]

    assert opaque(scheduler)
    assert (
        f"{__name__}.test_no_code_of_the_user_runs.<locals>.factor"
        == (describe(scheduler).params["lr_lambda"])
    )
    assert not loud.asked + calls
