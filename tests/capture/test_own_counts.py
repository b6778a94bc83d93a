"""Counts and names that an optimizer has itself: its steps, its momentum, its groups."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lrtrack.capture.group_names import group_names
from lrtrack.capture.momentum import decay_of, momentum_of, where_momentum_is
from lrtrack.capture.own_counts import is_counted_here, optimizer_count


def counted(*states: Any, groups: Any = ()) -> Any:
    """An optimizer with the states of some parameters."""
    return SimpleNamespace(state=dict(enumerate(states)), param_groups=list(groups))


@pytest.mark.parametrize(
    ("optimizer", "count"),
    [
        (counted(), None),
        (counted({"step": 3}, {"step": 5}, {}), 5),
        (counted({"step": torch.tensor(3.0)}, {"step": torch.tensor([[7]])}), 7),
        (counted({"step": torch.tensor(3.0)}, {"step": 9}), 9),
        (counted({"step": torch.ones(2)}), None),
        (counted({"step": True}), None),
        (counted({"step": "3"}, None), None),
        (counted(groups=[{"step": 4}, {"k": 6}]), 6),
        (counted(groups=[{"lr": 4}]), None),
        (SimpleNamespace(), None),
    ],
)
def test_the_steps_by_an_optimizer_s_own_count(optimizer: Any, count: int | None) -> None:
    """The largest count of any parameter or group is the optimizer's; other things are none."""
    assert count == optimizer_count(optimizer)


def test_whether_all_steps_were_made_here() -> None:
    """The versions of Adam's counters tell its own steps from those that were loaded."""
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([weight])
    before = is_counted_here(optimizer, 0)
    for _ in range(3):
        weight.grad = torch.ones(2)
        optimizer.step()

    assert [before, *(is_counted_here(optimizer, count) for count in (2, 3, 4))] == [
        False, True, True, False,
    ]  # fmt: skip
    optimizer.load_state_dict(optimizer.state_dict())
    assert not is_counted_here(SimpleNamespace(), 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("group", "momentum", "decay"),
    [
        ({"momentum": 0.9, "betas": (0.5, 0.6), "weight_decay": 0.1}, 0.9, 0.1),
        ({"momentum": None, "betas": (0.5, 0.6)}, 0.5, None),
        ({"betas": [0.5]}, 0.5, None),
        ({"betas": ()}, None, None),
        ({"betas": 0.5}, None, None),
        ({"momentum": torch.tensor(0.25)}, 0.25, None),
        ({"momentum": "0.9", "weight_decay": "0.1"}, None, None),
        ({"momentum": 0}, 0.0, None),
    ],
)
def test_momentum_and_decay(
    group: dict[str, Any], momentum: float | None, decay: float | None
) -> None:
    """The momentum is `momentum`, else the first of `betas`; only numbers count."""
    assert momentum == momentum_of([group, {"momentum": 0.1}])
    assert decay == decay_of([group, {"weight_decay": 0.2}])
    assert (momentum_of([]), decay_of([])) == (None, None)


def test_values_that_may_change_in_place() -> None:
    """A value that can only be replaced is compared by identity, and no other is."""
    pair, tensor = (0.9, 0.99), torch.tensor(0.9)

    assert where_momentum_is([{"betas": pair}]) == ("betas", pair)
    assert where_momentum_is([{"momentum": 0.5, "betas": pair}]) == ("momentum", 0.5)
    assert where_momentum_is([{"momentum": 1}]) == ("momentum", 1)
    assert where_momentum_is([]) == ("betas", None)
    assert where_momentum_is([{"momentum": tensor}])[1] is not tensor
    assert where_momentum_is([{"betas": [0.9]}])[1] != [0.9]


@pytest.mark.parametrize(
    ("names", "unique"),
    [
        ([], []),
        ([None, None], ["0", "1"]),
        (["head", None], ["head", "1"]),
        (["decay", "decay", "head"], ["decay_0", "decay_1", "head"]),
        (["a", "a", "a_0"], ["a_0_", "a_1", "a_0"]),
        (["a", "a", "a_0", "a_0_"], ["a_0__", "a_1", "a_0", "a_0_"]),
        (["1", None], ["1_0", "1_1"]),
    ],
)
def test_names_of_groups(names: list[str | None], unique: list[str]) -> None:
    """Groups that share a name get their index behind it, and never the name of another one."""
    assert unique == group_names([{} if name is None else {"name": name} for name in names])
