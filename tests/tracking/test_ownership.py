"""The scheduler must belong to the tracked optimizer, and the optimizer must have parameters."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.optim import lr_scheduler as ls

import lrtrack
from lrtrack.errors import UsageError


def sgd() -> torch.optim.SGD:
    """Returns an SGD optimizer for one number."""
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)


class Around:
    """A wrapper that carries an optimizer, as in frameworks."""

    def __init__(self, optimizer) -> None:
        self.optimizer = optimizer

    @property
    def param_groups(self):
        """Those of the optimizer inside."""
        return self.optimizer.param_groups


class Subclassed(torch.optim.Optimizer):
    """An optimizer that shares the param groups of the one inside."""

    def __init__(self, inner) -> None:
        self.optimizer = inner
        self.defaults = inner.defaults

    def step(self, closure=None) -> None:
        """Step what is inside."""
        self.optimizer.step(closure)

    @property
    def param_groups(self):
        """Those of the optimizer inside."""
        return self.optimizer.param_groups


class Holder:
    """A wrapper around a scheduler that also holds its optimizers."""

    def __init__(self, scheduler, optimizers=None) -> None:
        self.scheduler = scheduler
        if optimizers is not None:
            self.optimizers = optimizers

    def step(self) -> None:
        """Step what is inside."""
        self.scheduler.step()


class Free:
    """A scheduler without a reference to an optimizer."""

    def step(self) -> None:
        """Nothing that could be seen."""


class Broken(Free):
    """A scheduler with a property that raises."""

    @property
    def optimizer(self):
        """Not there yet."""
        raise RuntimeError("not yet")


class Several:
    """One scheduler for the two optimizers of a GAN."""

    def __init__(self, *schedulers) -> None:
        self._schedulers = schedulers

    def step(self) -> None:
        """Step both."""


def chain(optimizer) -> ls.SequentialLR:
    """Returns a warm-up followed by another schedule."""
    return ls.SequentialLR(optimizer, [ls.LinearLR(optimizer), ls.StepLR(optimizer, 3)], [5])


FOREIGN = {
    "plain": lambda o: (o, ls.StepLR(sgd(), 3), "StepLR"),
    "plateau": lambda o: (o, ls.ReduceLROnPlateau(sgd()), "ReduceLROnPlateau"),
    "sequential": lambda o: (o, chain(sgd()), "SequentialLR"),
    "chained": lambda o: (o, ls.ChainedScheduler([chain(sgd())]), "ChainedScheduler"),
    "wrapped": lambda o: (o, Holder(ls.StepLR(sgd(), 3)), "Holder"),
    "wrapper of ours around another's": lambda o: (
        Around(o), Holder(ls.StepLR(sgd(), 3), [o]), "Holder",
    ),
    "of a copy": lambda o: (o, ls.StepLR(copy.deepcopy(o), 3), "StepLR"),
}  # fmt: skip
OWN = {
    "plain": lambda o: (o, ls.StepLR(o, 3)),
    "chain": lambda o: (o, chain(o)),
    "wrapped optimizer": lambda o: (Around(Around(o)), ls.StepLR(o, 3)),
    "scheduler of the wrapper": lambda o: (o, ls.StepLR(Subclassed(o), 3)),
    "wrapper that is an optimizer": lambda o: (Around(Subclassed(o)), chain(o)),
    "wrapped scheduler": lambda o: (o, Holder(Holder(ls.StepLR(o, 3), [Around(o)]), [o])),
    "no optimizer": lambda o: (o, Free()),
    "a property that fails": lambda o: (o, Broken()),
    "wrapper without": lambda o: (o, Holder(Free(), [o])),
    "one of two": lambda o: (o, Several(ls.StepLR(sgd(), 3), ls.StepLR(o, 3))),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_another_optimizers_scheduler_is_refused(name):
    """The scheduler of another optimizer is rejected, even if deeply nested."""
    optimizer, scheduler, shown = FOREIGN[name](sgd())

    with pytest.raises(UsageError, match=rf"The {shown} changes .* of another optimizer .*SGD"):
        lrtrack.track(optimizer, scheduler, tracker="local")


@pytest.mark.parametrize("name", OWN)
def test_ones_own_scheduler_is_taken(name):
    """The optimizer's own scheduler is accepted through wrappers, and an unknown one, too."""
    optimizer, scheduler = OWN[name](sgd())
    block = lrtrack.track(optimizer, scheduler, tracker="local")

    assert block is not None


def test_a_restored_optimizer_keeps_its_scheduler():
    """Loading an optimizer's state replaces its groups, but not the owner of its scheduler."""
    optimizer = sgd()
    scheduler = chain(optimizer)
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))

    assert lrtrack.track(optimizer, scheduler, tracker="local") is not None


def test_accelerates_wrappers_are_taken():
    """accelerate's wrappers are accepted, and another optimizer's wrapped scheduler is not."""
    accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed")
    optimizer = sgd()
    scheduler = ls.OneCycleLR(optimizer, 0.3, 20, cycle_momentum=False)
    accelerator = accelerate.Accelerator(cpu=True)
    own, moved = accelerator.prepare(optimizer, scheduler)
    for pair in ((own, moved), (own, scheduler), (optimizer, moved)):
        assert lrtrack.track(*pair, tracker="local") is not None

    assert lrtrack.simulate(moved, 20).tolist() == lrtrack.simulate(scheduler, 20).tolist()
    with pytest.raises(UsageError, match="of another optimizer"):
        lrtrack.track(sgd(), moved, tracker="local")


def test_an_optimizer_without_parameters_is_refused():
    """An optimizer without any parameters is rejected; a single empty group is accepted."""
    empty = torch.optim.SGD([{"params": []}], lr=0.1)
    partly = torch.optim.SGD([{"params": []}, {"params": [torch.nn.Parameter(torch.ones(()))]}])

    with pytest.raises(UsageError, match="The SGD has no parameters"):
        lrtrack.track(empty, tracker="local")
    assert lrtrack.track(partly, tracker="local") is not None
