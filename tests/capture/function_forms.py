"""Functions that carry one setting, in each place where a function can."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import Any

import torch

from .schedulers import ramp

HERE = __name__


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
