"""Rules on how the training went: each loop with a mistake has a twin without it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    OneCycleLR,
)

#: A rate that hardly changes a weight and is still not LR004.
STILL = 1e-12


def test_a_rate_of_zero(training, track, messages) -> None:
    """LR004: a schedule reaches 0 long before the training ends."""
    task = training(lr=0.2)
    scheduler = LinearLR(task.optimizer, 1.0, 0.0, total_iters=20)
    with track(task.optimizer, scheduler):
        task.run(60, lambda step: scheduler.step())

    assert messages() == {
        "LR004": "the learning rate was 0 or under a millionth of its peak (0.2) in 67 % of the "
        "recorded steps (40 of 60): these steps barely change the weights."
    }


def test_a_rate_near_zero(training, track, messages) -> None:
    """LR004: rates near zero barely change the weights; a warm-up from 0 does not count."""
    task = training()
    scheduler = LambdaLR(task.optimizer, lambda step: min(step / 5, 1.0) if step < 30 else 1e-7)
    with track(task.optimizer, scheduler):
        task.run(60, lambda step: scheduler.step())

    assert list(messages()) == ["LR004"]
    assert "(31 of 60)" in messages()["LR004"]


@pytest.mark.parametrize(
    "build",
    [
        lambda o: LinearLR(o, 1.0, 0.0, total_iters=60),
        lambda o: LambdaLR(o, lambda step: min(step / 10, 1.0)),
        lambda o: CosineAnnealingLR(o, 60),
        lambda o: OneCycleLR(o, 0.1, total_steps=60, cycle_momentum=False),
        lambda o: LambdaLR(o, lambda step: 1.0 if step < 30 else 1e-5),
    ],
    ids=["to zero at the end", "from zero", "cosine", "one-cycle", "five digits down"],
)
def test_rates_that_end_near_zero(training, track, messages, build: Any) -> None:
    """A schedule that only begins and ends at 0 is not LR004."""
    task = training()
    scheduler = build(task.optimizer)
    with track(task.optimizer, scheduler):
        task.run(60, lambda step: scheduler.step())

    assert messages() == {}


def test_a_group_that_rests_at_zero(training, track, messages) -> None:
    """A group with rate 0 while another group trains is not LR004 but LR018."""
    task = training()
    first, second = task.model.parameters()
    groups = [{"params": [first], "lr": 0.0}, {"params": [second], "lr": 0.1}]
    task.optimizer = torch.optim.SGD(groups)
    with track(task.optimizer):
        task.run(60)

    assert list(messages()) == ["LR018"]


def test_a_loss_that_explodes(training, track, histories, messages) -> None:
    """LR006: the message has the step, and the rate and gradient norm of the step before it."""
    task = training(lr=1e6)
    with track(task.optimizer):
        task.run(60)
    (history,) = histories()
    losses, norms = history.metrics["loss"], history.metrics["grad_norm"]
    step = int(torch.tensor(losses).isfinite().logical_not().nonzero()[0])

    assert messages()["LR006"] == (
        f"the loss is {losses[step]:g} from step {step} on; the step before had learning rate "
        f"1e+06 and gradient norm {norms[step - 1]:.4g}."
    )
    assert step > 1


def test_one_bad_batch(training, track, messages) -> None:
    """LR006: a single NaN is reported as one; the first step has no step before it."""
    task = training(lr=STILL)
    with track(task.optimizer):
        for step in range(30):
            task.backward(math.nan if step == 0 else 1.0)
            for parameter in task.model.parameters():
                parameter.grad.nan_to_num_(0.0)
            task.optimizer.step()

    assert messages()["LR006"] == "the loss is nan at step 0; it was the first step."


def test_a_loss_that_was_put_right(training, track, messages) -> None:
    """A loss that `run.log(loss=…)` replaces is not LR006."""
    task = training(lr=STILL)
    with track(task.optimizer, norms="off") as run:
        for step in range(30):
            task.backward(math.nan if step == 3 else 1.0)
            for parameter in task.model.parameters():
                parameter.grad.nan_to_num_(0.0)
            task.optimizer.step()
            if step == 3:
                run._recording.write_to_disk()  # the record is in the file by now
                run.log(loss=1.0)

    assert messages() == {}


@pytest.mark.parametrize(
    ("each", "limit", "codes"), [(1, 0.1, ["LR007"]), (2, 0.1, []), (1, 2.0, []), (1, 1e6, [])]
)
def test_clipping(training, track, messages, each: int, limit: float, codes: list[str]) -> None:
    """LR007: reported if most steps are clipped to under a tenth, not for half of them, or less."""
    task = training(lr=STILL)
    with track(task.optimizer):
        for step in range(30):
            task.backward(0.01 if step % each else 1.0)
            clip_grad_norm_(task.model.parameters(), limit)
            task.optimizer.step()

    assert list(messages()) == codes


def test_clipping_is_counted(training, track, messages) -> None:
    """LR007: the message has the share and both numbers."""
    task = training(lr=STILL)
    with track(task.optimizer):
        for step in range(40):
            task.backward(1.0 if step % 4 else 0.01)
            clip_grad_norm_(task.model.parameters(), 0.1)
            task.optimizer.step()

    assert messages() == {
        "LR007": "gradient clipping left less than a tenth of the gradient norm in 75 % of the "
        "recorded steps (30 of 40)."
    }


def test_clipping_among_the_norms_of_some_steps(training, track, messages) -> None:
    """LR007: where clipping does not give the norm after it, the steps with both norms count."""
    task = training(lr=STILL)
    with track(task.optimizer, norms_every=2):
        for _ in range(40):
            task.backward()
            clip_grad_norm_(task.model.parameters(), 0.1)
            for parameter in task.model.parameters():
                parameter.grad.mul_(0.5)
            task.optimizer.step()

    assert messages() == {
        "LR007": "gradient clipping left less than a tenth of the gradient norm in 100 % of the "
        "recorded norms (20 of 20)."
    }


def grouped(training: Any, name: str = "head") -> tuple[Any, torch.nn.Parameter]:
    """Train with a second group, whose parameter no loss depends on."""
    task, lost = training(), torch.nn.Parameter(torch.ones(3))
    groups = [{"params": list(task.model.parameters())}, {"params": [lost], "name": name}]
    task.optimizer = torch.optim.SGD(groups, lr=0.01)
    return task, lost


def test_a_group_without_gradients(training, track, messages) -> None:
    """LR008: the group is named."""
    task, _ = grouped(training)
    with track(task.optimizer):
        task.run(30)

    assert messages() == {
        "LR008": "param group head never received a gradient in 30 optimizer steps."
    }


@pytest.mark.parametrize("when", ["once, late", "frozen", "every other step"])
def test_groups_that_rest(training, track, messages, when: str) -> None:
    """A group with one gradient, or with frozen parameters, is not LR008."""
    task, lost = grouped(training)
    lost.requires_grad_(when != "frozen")
    with track(task.optimizer):
        for step in range(60):
            loss = task.backward()
            if (when == "once, late" and step >= 20) or (when == "every other step" and step % 2):
                (loss.detach() * lost.sum()).backward()
            task.optimizer.step()

    assert messages() == {}


def spiking(training: Any, track: Any, factors: dict[int, float], **options: Any) -> None:
    """Make tiny steps, so that each gradient norm is the first one times a factor."""
    task = training(lr=STILL)
    with track(task.optimizer, **options):
        for step in range(60):
            task.backward(factors.get(step, 1.0))
            task.optimizer.step()


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({20: 20.0, 30: 30.0, 40: 40.0}, "3 gradient spikes in 60 recorded steps: gradient norms "
         "over 10 times their trailing median; the largest is 40 times the median."),
        ({30: 500.0}, "1 gradient spike in 60 recorded steps: gradient norms over 10 times their "
         "trailing median; the largest is 500 times the median."),
    ],
    ids=["several", "a huge one"],
)  # fmt: skip
def test_gradient_spikes(
    training, track, messages, factors: dict[int, float], message: str
) -> None:
    """LR009: several spikes, or one that is very large, are reported."""
    spiking(training, track, factors)

    assert messages() == {"LR009": message}


def test_spikes_among_the_norms_of_some_steps(training, track, messages) -> None:
    """LR009: where only some of the steps have a norm, the message counts those."""
    spiking(training, track, {20: 20.0, 30: 30.0, 31: 99.0, 40: 40.0}, norms_every=2)

    assert messages() == {
        "LR009": "3 gradient spikes in 30 recorded norms: gradient norms over 10 times their "
        "trailing median; the largest is 40 times the median."
    }


@pytest.mark.parametrize(
    "factors",
    [{30: 50.0}, dict.fromkeys(range(10), 1000.0), {20: 9.0, 30: 9.0, 40: 9.0, 50: 9.0}],
    ids=["one", "at the beginning", "small ones"],
)
def test_ordinary_gradients(training, track, messages, factors: dict[int, float]) -> None:
    """A single odd batch, large first steps and moderate noise are not LR009."""
    spiking(training, track, factors)

    assert messages() == {}


def vectors(task: Any) -> None:
    """Make a step whose backward call starts at a vector."""
    task.optimizer.zero_grad()
    errors = task.model(torch.ones(8, 4))
    errors.backward(gradient=torch.ones_like(errors))
    task.optimizer.step()


def test_no_loss(training, track, messages) -> None:
    """LR010: a backward call on a vector gives no loss."""
    task = training()
    with track(task.optimizer):
        for _ in range(30):
            vectors(task)

    assert list(messages()) == ["LR010"]
    assert messages()["LR010"].startswith(
        "no loss was captured in 30 optimizer steps: lrtrack saw no backward() call"
    )


def test_no_loss_recorded(track, messages) -> None:
    """LR010: steps that the user records without a loss say nothing about backward calls."""
    with track(None) as run:
        for _ in range(30):
            run.record(lr=0.1)

    assert messages() == {"LR010": "no loss was recorded: 30 calls of run.record() had none."}


@pytest.mark.parametrize("way", ["logged", "not wanted"])
def test_a_loss_from_elsewhere(training, track, messages, way: str) -> None:
    """A loss that the user logs, or that is not wanted, is not LR010."""
    task = training()
    with track(task.optimizer, capture_loss=way == "logged") as run:
        for step in range(30):
            vectors(task)
            if way == "logged" and step % 10 == 9:
                run.log(loss=1.0 / step)

    assert messages() == {}


def test_a_few_steps_say_nothing(training, track, messages) -> None:
    """A run of four steps has no diagnosis, whatever it does."""
    task, _ = grouped(training)
    scheduler = CosineAnnealingLR(task.optimizer, 1000)
    with track(task.optimizer, scheduler):
        task.run(4)

    assert messages() == {}
