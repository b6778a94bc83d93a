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
    """A user's schedule with another one inside."""

    def __init__(self, **inner: Any) -> None:
        self.__dict__.update(inner)

    def step(self, value: float) -> None:
        """Step all schedulers inside."""
        for part in [*getattr(self, "_schedulers", []), getattr(self, "scheduler", None)]:
            if part is not None:
                part.step(value)


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
    """Each metric given to a plateau schedule is recorded, whatever its type and form."""
    model, _ = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    plateau, other = ReduceLROnPlateau(optimizer), ReduceLROnPlateau(optimizer)
    with watch(optimizer, wrap(plateau)) as recording:
        wrap(plateau).step(0.5)
        plateau.step(torch.tensor(0.25))
        plateau.step(metrics=float("inf"))
        other.step(9.0)
    plateau.step(8.0)

    assert recording.plateau == [0.5, 0.25, float("inf")]
    assert plateau.last_epoch == 4


def test_nested_finds_every_schedule_once() -> None:
    """Schedulers inside schedulers are found once each, in lists or alone, even in cycles."""
    inner = Wrapper()
    outer = Wrapper(_schedulers=[inner, Wrapper(scheduler=inner)])
    circle = Wrapper()
    circle.scheduler = circle

    assert list(nested(None)) == []
    assert list(nested(inner)) == [inner]
    assert list(nested(outer))[:2] == [outer, inner]
    assert set(nested(circle)) == {circle}
