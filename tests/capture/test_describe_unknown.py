"""Descriptions of subclasses, wrappers, unknown schedulers and hostile objects."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from torch.optim import lr_scheduler as ls

from lrtrack import Schedule, describe

from .schedulers import (
    Foreign,
    ShortSteps,
    Wrapper,
    halved,
    sgd,
    train,
)


def test_subclass() -> None:
    """A subclass has its own name, its parent's parameters and its own."""
    expected = Schedule("ShortSteps", {"step_size": 3, "gamma": 0.1, "note": "short"})

    assert expected == describe(ShortSteps(sgd(), 3))


def test_wrappers_are_opened() -> None:
    """A wrapper, even around another wrapper, is described as the scheduler inside it."""
    inner = ls.StepLR(sgd(), 3)

    assert describe(inner) == describe(Wrapper(Wrapper(inner, []), []))


def test_wrapped_inside() -> None:
    """A wrapper inside another scheduler is opened too."""
    optimizer = sgd()
    inner = ls.StepLR(optimizer, 3)
    outer = ls.ChainedScheduler([inner])
    outer._schedulers = [Wrapper(inner, [])]

    assert [describe(inner).to_dict()] == describe(outer).params["schedulers"]


def test_unknown_scheduler() -> None:
    """An unknown scheduler is described by its public plain attributes without state."""
    scheduler = Foreign(
        sgd(), warmup=5, kind="cos", bounds=[0.1, None], options={"a": True}, much=[0] * 1000,
        helper=object(), function=halved, z=1j,
    )  # fmt: skip
    expected = Schedule(
        "Foreign", {"warmup": 5, "kind": "cos", "bounds": [0.1, None], "options": {"a": True}}
    )
    before = describe(scheduler)
    train(scheduler.optimizer, scheduler, 3)

    assert expected == before
    assert expected == describe(scheduler)


def test_attribute_called_name() -> None:
    """Parameters called like the schedule's name, id or text in a run do not replace these."""
    schedule = describe(Foreign(sgd(), name="x", id=3, spec=0.5))

    assert Schedule("Foreign", {"name_": "x", "id_": 3, "spec_": 0.5}) == schedule


class Raising:
    """An object on which every attribute access raises."""

    @property
    def gamma(self) -> float:
        raise RuntimeError("no")

    def __init__(self, gamma: float = 0.1) -> None:
        self.kept = gamma

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def step(self) -> None: ...


class Sealed:
    def __init__(self, gamma: float = 0.1) -> None:
        self.gamma = gamma

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    def __hash__(self) -> int:
        raise RuntimeError


class Disguised:
    @property
    def __class__(self) -> Any:
        raise RuntimeError

    def step(self) -> None: ...


class Generous:
    """An object that has every attribute."""

    def __getattr__(self, name: str) -> Any:
        return Generous()

    def step(self) -> None: ...


class Slotted:
    __slots__ = ("empty", "gamma", "optimizer")

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer
        self.gamma = 0.5

    def step(self) -> None: ...


class BadList(list[Any]):
    def __iter__(self) -> Any:
        raise RuntimeError

    def __len__(self) -> int:
        raise RuntimeError


def looped() -> Any:
    wrapper = Wrapper(None, [])
    wrapper.scheduler = wrapper
    return wrapper


def chained_to_itself() -> Any:
    scheduler = ls.ChainedScheduler([ls.StepLR(sgd(), 3)])
    scheduler._schedulers = [scheduler]
    return scheduler


def endless() -> Any:
    items: list[Any] = []
    items.append(items)
    return Foreign(None, items=items, table={"a": {"b": items}}, gamma=0.5)


def gutted() -> Any:
    scheduler = ls.OneCycleLR(sgd(), 0.1, 10)
    del scheduler.optimizer, scheduler._schedule_phases
    return scheduler


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (Raising, Schedule("Raising", {"gamma": 0.1})),
        (Sealed, Schedule("Sealed", {"gamma": 0.1})),
        (Disguised, Schedule("Disguised")),
        (Generous, Schedule("Generous")),
        (lambda: Slotted(sgd()), Schedule("Slotted", {"gamma": 0.5})),
        (looped, Schedule("Wrapper", {"scheduler": {"name": "Wrapper"}, "split_batches": False})),
        (
            chained_to_itself,
            Schedule("ChainedScheduler", {"schedulers": [{"name": "ChainedScheduler"}]}),
        ),
        (endless, Schedule("Foreign", {"gamma": 0.5})),
        (
            lambda: Foreign(None, bad=BadList([1]), huge=10**5000, gamma=0.5),
            Schedule("Foreign", {"gamma": 0.5}),
        ),
        (lambda: Foreign(None, text="\ud800"), Schedule("Foreign", {"text": "?"})),
        (
            lambda: Foreign(None, top=math.inf, none=math.nan),
            Schedule("Foreign", {"top": "inf", "none": "nan"}),
        ),
        (
            gutted,
            Schedule(
                "OneCycleLR", {"total_steps": 10, "anneal_strategy": "cos", "cycle_momentum": True}
            ),
        ),
        (object, Schedule("object")),
        (lambda: "StepLR", Schedule("str")),
        (lambda: ls.StepLR, Schedule("type")),
    ],
)
def test_hostile_objects(make: Callable[[], Any], expected: Schedule) -> None:
    """Any object gets a description with at least its class's name and a stable id."""
    schedule = describe(make())

    assert expected == schedule
    assert expected.id == schedule.id
    assert schedule.flat()
