"""Schedulers inside schedulers, and the metric that a plateau schedule receives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import (
    ReduceLROnPlateau,
)

from lrtrack.capture.step_capture import nested


class Wrapper:
    """A user's schedule with another inside."""

    def __init__(self, **inner: Any) -> None:
        self.__dict__.update(inner)

    def step(self, value: float) -> None:
        """Step whatever is inside."""
        for each in [*getattr(self, "_schedulers", []), getattr(self, "scheduler", None)]:
            if each is not None:
                each.step(value)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda plateau: plateau,
        lambda plateau: Wrapper(scheduler=plateau),
        lambda plateau: Wrapper(_schedulers=[Wrapper(scheduler=plateau)]),
    ],
    ids=["plain", "wrapped", "nested twice"],
)
def test_the_plateau_metric_is_heard(make, watch, wrap) -> None:
    """Each value given to the schedule is told, as a number or as a tensor, by name or not."""
    model, _ = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    plateau, other = ReduceLROnPlateau(optimizer), ReduceLROnPlateau(optimizer)
    with watch(optimizer, wrap(plateau)) as seen:
        wrap(plateau).step(0.5)
        plateau.step(torch.tensor(0.25))
        plateau.step(metrics=float("inf"))
        other.step(9.0)
    plateau.step(8.0)

    assert seen.plateau == [0.5, 0.25, float("inf")]
    assert plateau.last_epoch == 4


def test_nested_finds_every_schedule_once() -> None:
    """Schedules inside schedules, in lists or alone; circles end."""
    inner = Wrapper()
    outer = Wrapper(_schedulers=[inner, Wrapper(scheduler=inner)])
    circle = Wrapper()
    circle.scheduler = circle

    assert list(nested(None)) == []
    assert list(nested(inner)) == [inner]
    assert list(nested(outer))[:2] == [outer, inner]
    assert set(nested(circle)) == {circle}
