"""Descriptions of the schedulers of several optimizers."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import lr_scheduler as ls

from lrtrack import describe
from lrtrack.capture.ensemble import ensemble_of

from .schedulers import sgd


def test_schedulers_of_several_optimizers() -> None:
    """A list or a mapping is described part by part, as the run of these optimizers is."""
    one, two = sgd(), torch.optim.Adam([torch.nn.Parameter(torch.ones(1))])
    schedulers = [ls.StepLR(one, 3), ls.ExponentialLR(two, 0.9)]
    listed = describe(schedulers)

    assert listed.label == (
        "ExponentialLR + StepLR(Adam=ExponentialLR(gamma=0.9), SGD=StepLR(gamma=0.1, step_size=3))"
    )
    assert listed == ensemble_of([one, two], schedulers).schedule()
    assert describe({"a": schedulers[0], "b": None}).name == "StepLR + constant"
    assert describe([schedulers[0], None]).name == "constant + StepLR"
    assert describe([schedulers[1]]) == describe(schedulers[1])


def test_equal_classes_in_a_list_are_numbered() -> None:
    """Two optimizers of one class are told apart as in their run."""
    schedulers = [ls.StepLR(sgd(), 3), ls.StepLR(sgd(), 4)]

    assert list(describe(schedulers).params) == ["SGD_1", "SGD_2"]


class Container:
    """Schedulers that are stepped together, as torchtitan's are."""

    def __init__(self, *schedulers: Any) -> None:
        self.schedulers = list(schedulers)

    def step(self) -> None:
        """Step all of them."""
        for scheduler in self.schedulers:
            scheduler.step()


def test_a_container_of_schedulers() -> None:
    """A container counts as the list of its schedulers if they move several optimizers."""
    one, two = sgd(), sgd()
    schedulers = [ls.StepLR(one, 3), ls.ExponentialLR(two, 0.9)]
    same = [ls.StepLR(one, 3), ls.ExponentialLR(one, 0.9)]

    assert describe(Container(*schedulers)) == describe(schedulers)
    assert describe(Container(*same)).name == "Container"
    assert [part["name"] for part in describe(Container(*same)).params["schedulers"]] == [
        "StepLR", "ExponentialLR"
    ]  # fmt: skip
