"""What a simulation gives to `step()`, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch.optim import lr_scheduler as ls

import lrtrack
from lrtrack.errors import UsageError


def sgd(*rates: float) -> torch.optim.SGD:
    """Return SGD with one param group for each rate."""
    groups = [{"params": [torch.nn.Parameter(torch.ones(()))], "lr": lr} for lr in rates or (0.1,)]
    return torch.optim.SGD(groups, lr=0.0)


class Greedy:
    """A class that needs a metric, as transformers' GreedyLR."""

    def __init__(self, optimizer, best: float = float("inf")) -> None:
        self.optimizer, self.best = optimizer, best

    def step(self, metrics: float, epoch=None) -> None:
        """Halve the rate unless the metric has improved."""
        better = metrics < self.best
        self.best = min(metrics, self.best)
        for group in self.optimizer.param_groups:
            group["lr"] *= 1.0 if better else 0.5


class Counted:
    """A class that is given the epoch, as timm's; a metric counts if there is one."""

    def __init__(self, optimizer, by_updates: bool = False) -> None:
        self.optimizer, self.by_updates = optimizer, by_updates

    def step(self, epoch: int, metric=None) -> None:
        """Set the rate of an epoch."""
        self._set(0 if self.by_updates else epoch, metric)

    def step_update(self, num_updates: int, metric=None) -> None:
        """Set the rate of an update."""
        self._set(num_updates if self.by_updates else 0, metric)

    def _set(self, count: int, metric) -> None:
        if count:
            for group in self.optimizer.param_groups:
                group["lr"] = 0.1 / (1 + count) * (1.0 if metric is None else metric)


class Late(Counted):
    """A class that counts, but is given the epoch too; its argument has no name."""

    def __init__(self, optimizer) -> None:
        super().__init__(optimizer)
        self.last_epoch = 3

    def step(self, epoch: int, /) -> None:
        """Set the rate of an epoch."""
        self._set(epoch, None)

    step_update = None


class Passing:
    """A wrapper that passes on whatever it is given."""

    def __init__(self, scheduler) -> None:
        self.scheduler = scheduler

    def step(self, *args, **kwargs) -> None:
        """Step the scheduler inside."""
        self.scheduler.step(*args, **kwargs)


METRICS = [1.0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("build", "metrics", "expected"),
    [
        (Greedy, METRICS, [0.1, 0.1, 0.1, 0.05]),
        (lambda o: Passing(Greedy(o)), METRICS, [0.1, 0.1, 0.1, 0.05]),
        (Counted, None, [0.1, 0.1 / 2, 0.1 / 3, 0.1 / 4]),
        (lambda o: Counted(o, by_updates=True), None, [0.1, 0.1 / 2, 0.1 / 3, 0.1 / 4]),
        (Counted, METRICS, [0.1, 0.1 / 2, 0.1 / 3 * 0.5, 0.1 / 4 * 0.5]),
        (Late, None, [0.1, 0.1 / 5, 0.1 / 6, 0.1 / 7]),
        (
            lambda o: Passing(ls.ReduceLROnPlateau(o, factor=0.5, patience=1)),
            None,
            [0.1, 0.1, 0.1, 0.05],
        ),
        (lambda o: Passing(ls.StepLR(o, 1, 0.5)), METRICS, [0.1, 0.05, 0.025, 0.0125]),
    ],
)
def test_step_is_given_what_it_takes(build, metrics, expected):
    """`step` gets the metric and the count that its signature asks for, also through a wrapper."""
    rates = lrtrack.simulate(build(sgd()), 4, metrics=metrics)

    assert expected == rates[:, 0].tolist()


def test_schedulers_that_cannot_be_stepped_alone_are_told():
    """A scheduler without an optimizer, a copy or its metric, or with other needs, is refused."""

    class Bare:
        def step(self) -> None:
            """Do nothing."""

    class Asking(ls.StepLR):
        def step(self, epoch: int, first: object, second: object) -> None:
            """Require more than anything can give."""

    class Uncopied(ls.StepLR):
        def __deepcopy__(self, memo):
            raise RuntimeError("no copies")

    Asking._initial_step = lambda self: None
    with pytest.raises(UsageError, match="Bare has no optimizer"):
        lrtrack.simulate(Bare(), 3)
    with pytest.raises(UsageError, match=r"Asking.step\(\) needs first, second"):
        lrtrack.simulate(Asking(sgd(), 3), 3)
    with pytest.raises(UsageError, match=r"Greedy.step\(\) needs a metric \(metrics\)"):
        lrtrack.simulate(Greedy(sgd()), 3)
    with pytest.raises(UsageError, match=r"Uncopied cannot be copied.*no copies"):
        lrtrack.simulate(Uncopied(sgd(), 3), 3)


def test_too_many_steps_are_refused():
    """A simulation whose rates would not fit into memory is refused before it begins."""
    with pytest.raises(UsageError, match="simulate at most 10,000,000 steps"):
        lrtrack.simulate("constant", 10**12)
    with pytest.raises(UsageError, match=r"for 2 param groups .* at most 5,000,000 steps"):
        lrtrack.simulate(ls.StepLR(sgd(0.1, 0.2), 3), 10_000_000)
