"""Scheduler steps in the wrong order or too often (LR005, LR012), with correct twins."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.amp.grad_scaler import GradScaler
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR


def stepped_before(training: Any, track: Any, every: int) -> None:
    """Train with a loop from before torch 1.1."""
    task = training()
    scheduler = ExponentialLR(task.optimizer, 0.99)
    with track(task.optimizer, scheduler), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        for step in range(30):
            if step % every == 0:
                scheduler.step()
            task.step()


@pytest.mark.parametrize("every", [1, 10], ids=["each step", "each epoch"])
def test_stepped_before_the_optimizer(training, track, messages, every: int) -> None:
    """LR005: the first value of the schedule is skipped."""
    stepped_before(training, track, every)

    assert messages() == {
        "LR005": "ExponentialLR was stepped before the first optimizer step, so its first value "
        "was skipped."
    }


@pytest.mark.parametrize("resumed", [True, False], ids=["resumed", "by hand"])
def test_a_checkpoint_is_no_step(training, track, histories, resumed: bool) -> None:
    """State that is loaded within the block is neither LR005 nor LR012."""
    task = training()
    scheduler = ExponentialLR(task.optimizer, 0.99)
    with track(task.optimizer, scheduler) as run:
        task.run(25, lambda step: scheduler.step())
    saved = task.optimizer.state_dict(), scheduler.state_dict()
    task = training()
    scheduler = ExponentialLR(task.optimizer, 0.99)
    with track(task.optimizer, scheduler, resume=run.id if resumed else None):
        task.optimizer.load_state_dict(saved[0])
        scheduler.load_state_dict(saved[1])
        task.run(25, lambda step: scheduler.step())

    assert [history.run.diagnoses for history in histories()] == [()] * (1 if resumed else 2)


def scaled(task: Any, scheduler: Any, steps: int, bad: Callable[[int], bool]) -> None:
    """Train with a gradient scaler, and step the scheduler after skipped steps too."""
    amp = GradScaler("cpu", init_scale=4.0)
    for step in range(steps):
        task.optimizer.zero_grad()
        loss = (task.model(torch.ones(8, 4)) - 1).square().mean()
        amp.scale(loss).backward()
        if bad(step):
            next(iter(task.model.parameters())).grad[0] = torch.inf
        amp.step(task.optimizer)
        amp.update()
        scheduler.step()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    ("bad", "times"),
    [
        (lambda step: step < 5, ""),
        (lambda step: step % 3 == 0, "10 of 30 steps"),
        (lambda step: step % 3 != 2, "20 of 30 steps"),
        (lambda step: True, "all 30 steps"),
    ],
    ids=["the first", "a third", "most", "all"],
)
def test_steps_that_a_scaler_skips(
    training, track, messages, fused: bool, bad: Callable[[int], bool], times: str
) -> None:
    """LR026: skipped steps are reported as such, if they are many, and not as LR005 or LR012."""
    task = training()
    task.optimizer = torch.optim.SGD(task.model.parameters(), lr=0.01, fused=fused)
    scheduler = ExponentialLR(task.optimizer, 0.99)
    with track(task.optimizer, scheduler), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        scaled(task, scheduler, 30, bad)
    skipped = {
        "LR026": f"the gradient scaler skipped {times}, because their gradients were infinite or "
        "NaN."
    }

    assert messages() == (skipped if times else {})


@pytest.mark.parametrize("factor", [2, 3])
def test_stepped_several_times(training, track, messages, factor: int) -> None:
    """LR012: the message says how many times too fast the schedule runs."""
    task = training()
    scheduler = ExponentialLR(task.optimizer, 0.99)
    with track(task.optimizer, scheduler):
        task.run(30, lambda step: [scheduler.step() for _ in range(factor)])

    assert messages() == {
        "LR012": f"ExponentialLR was stepped {factor} times for each optimizer step: the "
        f"schedule runs {factor} times too fast."
    }


@pytest.mark.parametrize("length", [None, 60, 600], ids=["unknown", "of batches", "far longer"])
def test_stepped_once_for_each_process(training, track, messages, monkeypatch, length: Any) -> None:
    """LR012 recognizes accelerate, and is not reported if the length counts all processes."""
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    task = training()
    build = (lambda o: ExponentialLR(o, 0.99)) if length is None else (
        lambda o: CosineAnnealingLR(o, length)
    )  # fmt: skip
    scheduler = build(task.optimizer)
    with track(task.optimizer, scheduler):
        task.run(30, lambda step: [scheduler.step() for _ in range(2)])

    assert list(messages()) == {None: ["LR012"], 60: [], 600: ["LR002", "LR012"]}[length]
    assert "accelerate" in messages().get("LR012", "accelerate")


def test_now_and_then_twice(training, track, messages) -> None:
    """An extra scheduler step at each evaluation is not LR012."""
    task = training()
    scheduler = ExponentialLR(task.optimizer, 0.99)
    with track(task.optimizer, scheduler):
        task.run(30, lambda step: [scheduler.step() for _ in range(1 if step % 5 else 2)])

    assert messages() == {}
