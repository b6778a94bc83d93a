"""The metric `lr_effective`, and param groups with shared names or moving weight decay."""

from __future__ import annotations

import pytest
import torch
from torch.optim import SGD

import lrtrack
from lrtrack.capture import effective_lr
from lrtrack.capture.group_names import group_names
from lrtrack.errors import UsageError
from lrtrack.trackers.memory import MemoryTracker


class Halving(SGD):
    """An optimizer that tells its effective rate itself."""

    def effective_lr(self, group):
        """Return half the rate."""
        return torch.tensor(group["lr"] / 2)


class Registered(SGD):
    """An optimizer whose effective rate another package tells."""


def record(optimizer, steps=1, change=lambda: None):
    """Track some steps; returns the metrics of each."""
    tracker = MemoryTracker()
    with lrtrack.track(optimizer, tracker=tracker, norms="group"):
        for _ in range(steps):
            optimizer.zero_grad()
            sum(p.sum() for group in optimizer.param_groups for p in group["params"]).backward()
            optimizer.step()
            change()
    (run,) = tracker.stored.values()
    return [step.metrics for step in run.steps.values()]


def weights(count=2):
    """Return parameters of two numbers each."""
    return [torch.nn.Parameter(torch.ones(2)) for _ in range(count)]


def test_an_optimizer_tells_its_effective_rate():
    """A method `effective_lr(group)` gives `lr_effective`, and `lr` stays the group's rate."""
    one, two = weights()
    (metrics,) = record(Halving([{"params": [one]}, {"params": [two], "lr": 0.5}], lr=0.25))

    assert {name: value for name, value in metrics.items() if name.startswith("lr")} == {
        "lr": 0.25,
        "lr/0": 0.25,
        "lr/1": 0.5,
        "lr_effective": 0.125,
        "lr_effective/0": 0.125,
        "lr_effective/1": 0.25,
    }


def test_a_class_is_registered(monkeypatch):
    """A registered function gives the effective rate of a class and its subclasses."""
    monkeypatch.setattr(effective_lr, "_registered", {})
    lrtrack.register_effective_lr(Registered, lambda optimizer, group: group["lr"] * 3)
    (metrics,) = record(type("Sub", (Registered,), {})(weights(1), lr=0.5))

    assert metrics["lr_effective"] == 1.5
    with pytest.raises(UsageError, match="takes a class and a function"):
        lrtrack.register_effective_lr("SGD", None)


def test_ordinary_optimizers_have_no_effective_rate():
    """Without a rate of its own an optimizer has no such metric."""
    (metrics,) = record(SGD(weights(1), lr=0.5))

    assert sorted(metrics) == ["grad_norm", "grad_norm/0", "loss", "lr"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["x", "x"], ["x_0", "x_1"]),
        (["1", None], ["1_0", "1_1"]),
        (["a", "b"], ["a", "b"]),
        ([None, None], ["0", "1"]),
        (["x", "x", "x_0"], ["x_0_", "x_1", "x_0"]),
    ],
)
def test_groups_that_share_a_name(names, expected):
    """Groups that share a name, or whose name is another one's index, get their index behind it."""
    groups = [{} if name is None else {"name": name} for name in names]

    assert group_names(groups) == expected


def test_no_group_is_lost():
    """Rates and norms of groups with the same name are recorded in columns of their own."""
    one, two = weights()
    groups = [{"params": [one], "name": "x"}, {"params": [two], "name": "x", "lr": 0.5}]
    (metrics,) = record(SGD(groups, lr=0.25))

    assert (metrics["lr/x_0"], metrics["lr/x_1"]) == (0.25, 0.5)
    assert metrics["grad_norm/x_0"] == metrics["grad_norm/x_1"] == pytest.approx(2**0.5)


def test_weight_decay_is_recorded_once_it_moves():
    """Weight decay is recorded from the step on at which it has changed."""
    optimizer = SGD(weights(1), lr=0.5, weight_decay=0.25)
    decays = iter([0.25, 0.125, 0.125, 0.25])

    def change():
        optimizer.param_groups[0]["weight_decay"] = next(decays)

    recorded = [metrics.get("weight_decay") for metrics in record(optimizer, 4, change)]

    assert recorded == [None, None, 0.125, 0.125]
