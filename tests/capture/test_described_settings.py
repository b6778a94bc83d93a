"""Settings of schedules that are functions, or classes which keep arguments under other names."""

from __future__ import annotations

import argparse
import functools
import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as ls

from lrtrack import describe
from lrtrack.capture.describe import opaque

from .schedulers import HERE, Decay, halved, ramp, sgd

Build = Callable[[torch.optim.Optimizer, Any], Any]


def with_closure(width: int) -> Callable[[int], float]:
    def factor(step: int) -> float:
        return min(1.0, (step + 1) / width)

    return factor


def with_default(width: int) -> Callable[[int], float]:
    def factor(step: int, width: int = width) -> float:
        return min(1.0, (step + 1) / width)

    return factor


def with_keyword_default(width: int) -> Callable[[int], float]:
    def factor(step: int, *, width: int = width) -> float:
        return min(1.0, (step + 1) / width)

    return factor


def with_inner_closure(width: int) -> Callable[[int], float]:
    inner = with_closure(width)
    return lambda step: inner(step) * inner(step + 1)


def with_namespace(width: int) -> Callable[[int], float]:
    args = argparse.Namespace(width=width, seed=width * 7, out=object())
    return lambda step: min(1.0, (step + 1) / args.width)


def with_config(width: int) -> Callable[[int], float]:
    config = {"width": width, "seed": object(), "layers": [width] * 3}
    return lambda step: min(1.0, (step + 1) / config["width"])


def with_wrapper(width: int) -> Callable[[int], float]:
    factor = with_closure(width)

    @functools.wraps(factor)
    def wrapper(step: int) -> float:
        return factor(step)

    return wrapper


def in_a_script(width: int) -> Callable[[int], float]:
    """A function of a program whose settings are global variables."""
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(f"width = {width}\ndef factor(step): return min(1, (step + 1) / width)", scope)
    function: Callable[[int], float] = scope["factor"]
    return function


class Ramp:
    """A ramp with a counter, as a method or a callable object."""

    power = 1

    def __init__(self, width: int) -> None:
        self._width = width
        self.calls = 0
        self.epoch_seconds = [0.0]

    def at(self, step: int) -> float:
        self.calls += 1
        self.epoch_seconds.append(float(step))
        return self._share(step)

    def _share(self, step: int) -> float:
        return float(min(1.0, (step + 1) / self._width)) ** self.power

    __call__ = at


class Slotted:
    __slots__ = ("__calls", "width")

    def __init__(self, width: int) -> None:
        self.width = width
        self.__calls = 0

    def __call__(self, step: int) -> float:
        self.__calls += 1
        return min(1.0, (step + 1) / self.width)


class Trainer(torch.nn.Module):
    """An object with much besides the settings, as in Lightning: some come from a property."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.save({"width": width, "seed": width, "layers": [torch.nn.Identity()]})
        self.power, self.seed = 2, width

    def save(self, settings: dict[str, Any]) -> None:
        self._settings = settings

    @property
    def settings(self) -> dict[str, Any]:
        if not hasattr(self, "_settings"):
            self._settings = {}
        return self._settings

    def factor(self, step: int) -> float:
        return float(min(1.0, (step + 1) / self.settings["width"])) ** self.power

    def make(self) -> Callable[[int], float]:
        return lambda step: (step + 1) / self.settings["width"]


def squared(width: int) -> Callable[[int], float]:
    bound = Ramp(width)
    bound.power = 2  # type: ignore[misc]
    return bound.at


FORMS: dict[str, tuple[Callable[[int], Any], str | None]] = {
    "closure": (with_closure, "with_closure.<locals>.factor(width=N)"),
    "default": (with_default, "with_default.<locals>.factor(width=N)"),
    "keyword default": (with_keyword_default, "with_keyword_default.<locals>.factor(width=N)"),
    "closure in a closure": (
        with_inner_closure,
        "with_inner_closure.<locals>.<lambda>(inner=MODULE.with_closure.<locals>.factor(width=N))",
    ),
    "attribute of a namespace": (
        with_namespace, 'with_namespace.<locals>.<lambda>(args={"width": N})',
    ),
    "entry of a mapping": (with_config, 'with_config.<locals>.<lambda>(config={"width": N})'),
    "decorated": (with_wrapper, "with_closure.<locals>.factor(width=N)"),
    "bound method": (lambda n: Ramp(n).at, "Ramp.at(power=1, width=N)"),
    "bound method with an attribute of its own": (squared, "Ramp.at(power=2, width=N)"),
    "method of a module": (
        lambda n: Trainer(n).factor, 'Trainer.factor(power=2, settings={"width": N})',
    ),
    "function over a module": (
        lambda n: Trainer(n).make(),
        'Trainer.make.<locals>.<lambda>(self={"settings": {"width": N}})',
    ),
    "callable object": (Ramp, "Ramp(width=N)"),
    "callable object with slots": (Slotted, "Slotted(width=N)"),
    "bound method of an object with slots": (
        lambda n: Slotted(n).__call__, "Slotted.__call__(width=N)",
    ),
    "partial": (lambda n: functools.partial(ramp, warmup=n), None),
    "partial of a closure": (
        lambda n: functools.partial(with_closure(n)), "with_closure.<locals>.factor(width=N)",
    ),
    "partial of a lambda": (
        lambda n: functools.partial(lambda step, width, top=3: 1 / width, width=n),
        "<lambda>.<locals>.<lambda>(top=3, width=N)",
    ),
    "script": (in_a_script, None),
    "number in a lambda": (
        lambda n: {5: lambda e: 0.5**e, 9: lambda e: 0.9**e}[n], "<lambda>.<locals>.<lambda>(0.N)",
    ),
    "list": (lambda n: ([1.0] * 31 + [1 / n]).__getitem__, None),
}  # fmt: skip


def multiplied(function: Callable[[int], Any]) -> Build:
    return lambda optimizer, setting: ls.LambdaLR(optimizer, function(setting))


NAMED = {name: form for name, form in FORMS.items() if form[1] is not None}


@pytest.mark.parametrize(("function", "text"), NAMED.values(), ids=NAMED)
def test_text_of_a_functions_settings(function: Callable[[int], Any], text: str) -> None:
    """A function is named with the settings that it carries, wherever it carries them."""
    for width in (5, 9):
        expected = f"{__name__}.{text}".replace("N", str(width)).replace("MODULE", __name__)

        assert expected == describe(ls.LambdaLR(sgd(), function(width))).params["lr_lambda"]


class Renamed:
    """Keeps its arguments under names of its own, and changes copies of them."""

    def __init__(self, optimizer: Any, t_max: int, peak: float = 1.0, floor: float = 0.0) -> None:
        self.optimizer = optimizer
        self.total = t_max
        self.peak = self.base_peak = peak
        self._Floor = floor
        self.rates = [group["lr"] for group in optimizer.param_groups]
        self.count = 0

    def step(self) -> None:
        self.count += 1
        self.peak *= 0.9
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = max(rate * self.peak * (1 - self.count / self.total), self._Floor)


class Computed(ls.LRScheduler):
    """Keeps only what it computes from its arguments."""

    def __init__(self, optimizer: Any, total: int, **others: Any) -> None:
        steps = max(1, total // 5)
        self.warmup_steps = steps
        self._power = others.get("power", 1)
        self.slopes = [group["lr"] / steps for group in optimizer.param_groups]
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        share = min(1.0, (self.last_epoch + 1) / self.warmup_steps) ** self._power
        return [rate * share for rate in self.base_lrs]


class Configured:
    """Reads its settings from one object."""

    def __init__(self, optimizer: Any, config: Any) -> None:
        self.optimizer = optimizer
        self.config = config
        self.last = 0

    def step(self) -> None:
        self.last += 1
        for group in self.optimizer.param_groups:
            group["lr"] = 0.1 / (1 + self.last / self.config.width)


class Mixed:
    """Keeps some of a config's settings itself, and computes several from another argument."""

    def __init__(self, opt: Any, config: Any, total: int = 100) -> None:
        self.opt = opt
        self.base = opt.param_groups[0]["lr"]
        self.config = config
        self.width = config.width * 2
        self.begin, self.end = total // 50, total - 10
        self.last = 0

    @property
    def total(self) -> int:
        raise AssertionError("not asked for")

    def step(self) -> None:
        self.last += 1
        for group in self.opt.param_groups:
            group["lr"] = self.base / (1 + self.last / self.config.power)


class Popping:
    """Takes the steps at which it cuts the rate from a list."""

    def __init__(self, optimizer: Any, cuts: list[int]) -> None:
        self.optimizer = optimizer
        self.cuts = list(cuts)
        self.waiting = list(cuts)
        self.last = 0

    def step(self) -> None:
        self.last += 1
        if self.waiting and self.waiting[0] == self.last:
            self.waiting.pop(0)
            for group in self.optimizer.param_groups:
                group["lr"] *= 0.5


def cosine_like_diffusers(optimizer: Any, width: int) -> ls.LambdaLR:
    """The shape of diffusers' and torchtune's schedules."""
    num_warmup_steps, num_training_steps, num_cycles = width, 40, 0.5

    def lr_lambda(current_step: int) -> float:
        if current_step < num_warmup_steps:
            return float(current_step) / float(max(1, num_warmup_steps))
        progress = (current_step - num_warmup_steps) / max(1, num_training_steps - num_warmup_steps)
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * float(num_cycles) * 2.0 * progress)))

    return ls.LambdaLR(optimizer, lr_lambda)


def polynomial_like_diffusers(optimizer: Any, power: float) -> ls.LambdaLR:
    """A function with the optimizer's rate in its closure."""
    lr_init, lr_end, num_training_steps = optimizer.defaults["lr"], 1e-7, 40

    def lr_lambda(current_step: int) -> float:
        remaining = max(0.0, 1 - current_step / num_training_steps)
        return float(((lr_init - lr_end) * remaining**power + lr_end) / lr_init)

    return ls.LambdaLR(optimizer, lr_lambda)


class Wrapping(torch.optim.Optimizer):
    """A wrapper like the one of accelerate."""

    _opt_called = True  # for torch's check of the order

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    @property
    def param_groups(self) -> Any:  # type: ignore[override]
        return self.optimizer.param_groups

    @property
    def defaults(self) -> Any:  # type: ignore[override]
        return self.optimizer.defaults

    def step(self, closure: Any = None) -> Any:
        return self.optimizer.step(closure)


def namespace(width: int) -> types.SimpleNamespace:
    return types.SimpleNamespace(width=width, power=3, seed=width)


BUILT: dict[str, tuple[Build, Any, Any]] = {
    **{name: (multiplied(function), 5, 9) for name, (function, _) in FORMS.items()},
    "torch StepLR": (ls.StepLR, 5, 9),
    "torch CosineAnnealingLR": (ls.CosineAnnealingLR, 50, 90),
    "torch MultiplicativeLR": (
        lambda o, n: ls.MultiplicativeLR(o, lambda step, n=n: 1 - 1 / (n * 100)), 5, 9,
    ),
    "torch SequentialLR": (
        lambda o, n: ls.SequentialLR(
            o, [ls.LambdaLR(o, with_closure(n)), ls.ExponentialLR(o, 0.9)], [3]
        ),
        5, 9,
    ),
    "torch CyclicLR": (
        lambda o, n: ls.CyclicLR(o, 0.01, 0.1, scale_fn=lambda x: 1 / (1 + n * x)), 5, 9,
    ),
    "renamed": (Renamed, 50, 90),
    "renamed and changed": (lambda o, peak: Renamed(o, 50, peak), 1.0, 0.5),
    "renamed in another case": (lambda o, floor: Renamed(o, 50, floor=floor), 0.0, 0.01),
    "computed": (Computed, 50, 90),
    "computed from keywords": (lambda o, power: Computed(o, 50, power=power), 1, 2),
    "configured": (lambda o, n: Configured(o, namespace(n)), 5, 9),
    "mixed, of its config": (lambda o, n: Mixed(o, namespace(n)), 5, 9),
    "mixed, of its total": (lambda o, n: Mixed(o, namespace(5), n), 101, 102),
    "popping": (Popping, [5, 9], [5, 8]),
    "over a wrapped optimizer": (
        lambda o, power: polynomial_like_diffusers(Wrapping(o), power), 1.0, 2.0,
    ),
    "like diffusers": (cosine_like_diffusers, 5, 9),
    "like diffusers with the rate": (polynomial_like_diffusers, 1.0, 2.0),
}  # fmt: skip


EACH = pytest.mark.parametrize(("build", "one", "other"), BUILT.values(), ids=BUILT)


def run(optimizer: torch.optim.Optimizer, scheduler: Any, steps: int = 30) -> None:
    for _ in range(steps):
        optimizer.step()
        scheduler.step()


@EACH
def test_same_settings_have_one_id(build: Build, one: Any, other: Any) -> None:
    """An id is that of the settings, whatever the optimizer's rate, and differs with them."""
    expected = describe(build(sgd(), one))

    assert expected.id == describe(build(sgd(), one)).id
    assert expected.id == describe(build(sgd(seed=1, lr=0.3), one)).id
    assert expected.id != describe(build(sgd(), other)).id
    assert not opaque(build(sgd(), one))


@EACH
def test_training_leaves_an_id(build: Build, one: Any, other: Any) -> None:
    """An id stays the same during a training and after loading a state."""
    optimizer = sgd()
    scheduler = build(optimizer, one)
    expected = describe(scheduler)
    run(optimizer, scheduler)

    assert expected == describe(scheduler)


RESTORED = {
    name: row
    for name, row in BUILT.items()
    # torch restores the attributes of callable objects, and these have none
    if hasattr(row[0](sgd(), row[1]), "state_dict")
    and name not in ("callable object with slots", "list")
}


@pytest.mark.parametrize(("build", "one", "other"), RESTORED.values(), ids=RESTORED)
def test_a_state_leaves_an_id(build: Build, one: Any, other: Any) -> None:
    """A scheduler that was restored from its state has the id of the saved one."""
    optimizer = sgd()
    scheduler, restored = build(optimizer, one), build(sgd(), one)
    run(optimizer, scheduler, 9)
    restored.load_state_dict(scheduler.state_dict())

    assert describe(build(sgd(), one)) == describe(restored)


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


def test_settings_are_parameters_and_said_once() -> None:
    """A function's settings are parameters by name, and a label does not repeat them."""
    schedule = describe(cosine_like_diffusers(sgd(), 5))
    settings = {"num_cycles": 0.5, "num_training_steps": 40, "num_warmup_steps": 5}
    text = ", ".join(f"{name}={value}" for name, value in settings.items())
    function = f"{__name__}.cosine_like_diffusers.<locals>.lr_lambda({text})"

    assert {"lr_lambda": function, **settings} == schedule.params
    assert f"LambdaLR(lr_lambda={function})" == schedule.label


def test_the_optimizers_rate_is_no_setting_by_chance() -> None:
    """A setting that happens to equal the optimizer's rate stays, unless its name is a rate's."""
    build = functools.partial(polynomial_like_diffusers, power=1.0)

    assert describe(build(sgd(lr=1.0))) == describe(build(sgd(lr=0.1)))
    assert "power" in describe(build(sgd(lr=1.0))).params


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
