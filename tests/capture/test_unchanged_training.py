"""Capture leaves the optimizer, the scheduler and the training as they are."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import (
    ExponentialLR,
    OneCycleLR,
    ReduceLROnPlateau,
)


def equal(left: Any, right: Any) -> bool:
    """Compare nested state bit by bit."""
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    return left == right


def hooks(optimizer: torch.optim.Optimizer) -> int:
    """Return the number of step hooks on an optimizer."""
    return len(optimizer._optimizer_step_pre_hooks) + len(optimizer._optimizer_step_post_hooks)


def test_nothing_hangs_on_the_optimizer_afterwards(make, watch) -> None:
    """Hooks are removed when the block ends or raises, and `detach` may be repeated."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    own = optimizer.register_step_post_hook(lambda *args: None)
    with pytest.raises(ZeroDivisionError), watch(optimizer) as recording:
        assert hooks(optimizer) == 3
        loss().backward()
        optimizer.step()
        raise ZeroDivisionError
    recording.capture.detach()
    optimizer.step()

    assert hooks(optimizer) == 1
    assert recording.steps == [0]
    own.remove()


def test_a_failed_attach_leaves_nothing(make, watch) -> None:
    """If the hooks cannot be installed, torch is restored."""
    model, _ = make()

    class Refuses(SGD):
        def register_step_post_hook(self, hook: Any) -> Any:
            raise ZeroDivisionError("mine")

    optimizer = Refuses(model.parameters(), lr=0.1)
    original = torch.autograd.backward
    with pytest.raises(ZeroDivisionError), watch(optimizer):
        pass

    assert hooks(optimizer) == 0
    assert torch.autograd.backward is original


def test_optimizer_and_scheduler_stay_ordinary_objects(make, watch) -> None:
    """Inside the block, optimizer and scheduler can be copied and pickled; copies have no hooks."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = OneCycleLR(optimizer, 0.1, total_steps=10)
    with watch(optimizer, scheduler) as recording:
        loss().backward()
        optimizer.step()
        scheduler.step()
        copies = [copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))]
        copies.append(copy.deepcopy(scheduler).optimizer)
        states = optimizer.state_dict(), scheduler.state_dict()
        loaded = SGD(copy.deepcopy(model).parameters(), lr=9.0, momentum=0.9)
        loaded.load_state_dict(states[0])
        for optimizer_copy in copies:
            optimizer_copy.step()
        OneCycleLR(loaded, 0.1, total_steps=10).load_state_dict(
            pickle.loads(pickle.dumps(states[1]))
        )

    assert recording.steps == [0]
    assert [hooks(optimizer_copy) for optimizer_copy in copies] == [0, 0, 0]
    assert equal(copies[0].param_groups[0]["lr"], optimizer.param_groups[0]["lr"])
    assert states[1]["last_epoch"] == 1


def onecycle(model, loss):
    """Train with SGD, OneCycleLR and clipping."""
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    scheduler = OneCycleLR(optimizer, 0.3, total_steps=30)
    yield optimizer, scheduler
    for _ in range(25):
        optimizer.zero_grad()
        loss().backward()
        clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        scheduler.step()


def plateau(model, loss):
    """Train with Adam and a plateau schedule that reduces the rate."""
    optimizer = Adam(model.parameters(), lr=0.1, amsgrad=True)
    scheduler = ReduceLROnPlateau(optimizer, patience=1)
    yield optimizer, scheduler
    for step in range(25):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        scheduler.step(value.item() + step)


def lbfgs(model, loss):
    """Train with a closure that is evaluated many times and contains dropout."""
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4, line_search_fn="strong_wolfe")
    scheduler = ExponentialLR(optimizer, 0.9)
    yield optimizer, scheduler

    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    for _ in range(6):
        optimizer.step(closure)
        scheduler.step()


@pytest.mark.parametrize("training", [onecycle, plateau, lbfgs])
@pytest.mark.parametrize(
    "options",
    [{"norms": "global"}, {"norms": "group"}, {"norms": "layer"}, {"norms": "layer", "updates": 2}],
    ids=str,
)
def test_training_is_bit_equal(make, watch, training, options: dict[str, Any]) -> None:
    """Capture changes neither weights, optimizer, schedule nor random numbers."""

    def result(tracked: bool) -> dict[str, Any]:
        model, loss = make()
        loop = training(model, loss)
        optimizer, scheduler = next(loop)
        if tracked:
            with watch(optimizer, scheduler, model=model, **options) as recording:
                assert list(loop) == []
            assert len(recording.steps) >= 6
        else:
            assert list(loop) == []
        return {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "random": torch.get_rng_state(),
        }

    assert equal(result(tracked=True), result(tracked=False))
