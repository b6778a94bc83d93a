"""Rules on unused and overrun schedules (LR001-LR003): each mistake has a correct twin."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

Build = Callable[[Any], Any]


def warmup_cosine(optimizer: Any, steps: int = 60) -> SequentialLR:
    """Build a warm-up of 10 steps, then a cosine to the end."""
    parts = [LinearLR(optimizer, 0.1, total_iters=10), CosineAnnealingLR(optimizer, steps - 10)]
    return SequentialLR(optimizer, parts, [10])


def test_never_stepped(training, track, messages) -> None:
    """LR001: if `scheduler.step()` is never called, the message has the rate and the steps."""
    task = training(lr=0.05)
    with track(task.optimizer, StepLR(task.optimizer, 10)):
        task.run(30)

    assert messages() == {
        "LR001": "StepLR was never stepped: the learning rate stayed at 0.05 for all 30 optimizer "
        "steps."
    }


@pytest.mark.parametrize("every", [1, 10, 30], ids=["each step", "each epoch", "at the end"])
def test_stepped(training, track, messages, every: int) -> None:
    """A scheduler that is stepped rarely, even only after the last step, is not LR001."""
    task = training()
    scheduler = StepLR(task.optimizer, 1, gamma=0.9)
    with track(task.optimizer, scheduler):
        task.run(30, lambda step: step % every == every - 1 and scheduler.step())

    assert messages() == {}


def test_no_scheduler_to_step(training, track, messages) -> None:
    """Without a scheduler, or with a constant one, LR001 does not apply."""
    task = training()
    with track(task.optimizer):
        task.run(30)

    assert messages() == {}


def test_stepped_between_blocks(training, track, histories) -> None:
    """If the scheduler is stepped between blocks, only the first block may report LR001."""
    task = training()
    scheduler, resume = ExponentialLR(task.optimizer, 0.9), None
    for _ in range(3):
        with track(task.optimizer, scheduler, resume=resume) as run:
            task.run(10)
            resume = run.id
        scheduler.step()
    (history,) = histories()

    assert history.run.diagnoses == ()
    assert history.steps.size == 30


def test_a_crash_in_the_first_epoch(training, track, messages) -> None:
    """A crash before the first scheduler step of an epoch is not LR001."""
    task = training()
    with pytest.raises(KeyError), track(task.optimizer, StepLR(task.optimizer, 10)):
        task.run(30)
        raise KeyError

    assert messages() == {}


SCHEDULES: dict[str, Build] = {
    "OneCycleLR": lambda o: OneCycleLR(o, 0.1, total_steps=60),
    "CosineAnnealingLR": lambda o: CosineAnnealingLR(o, 60),
    "LinearLR": lambda o: LinearLR(o, 1.0, 0.1, total_iters=60),
    "MultiStepLR": lambda o: MultiStepLR(o, [30, 60]),
    "SequentialLR": warmup_cosine,
    "CyclicLR": lambda o: CyclicLR(o, 0.01, 0.1, step_size_up=30),
    "CosineAnnealingWarmRestarts": lambda o: CosineAnnealingWarmRestarts(o, 60),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_stepped_per_epoch(training, track, messages, name: str) -> None:
    """LR002: a schedule of 60 steps was stepped six times."""
    task = training(momentum=0.9)
    scheduler = SCHEDULES[name](task.optimizer)
    with track(task.optimizer, scheduler):
        task.run(60, lambda step: step % 10 == 9 and scheduler.step())
    (message,) = messages().values()

    assert list(messages()) == ["LR002"]
    assert "only every 10 optimizer steps, as if per epoch" in message
    assert f"{name} was stepped" in message
    assert "used 10 % of its length" in message


@pytest.mark.parametrize("name", SCHEDULES)
def test_stepped_per_step(training, track, messages, name: str) -> None:
    """The same schedules, stepped at every step, have no diagnosis."""
    task = training(momentum=0.9)
    scheduler = SCHEDULES[name](task.optimizer)
    with track(task.optimizer, scheduler):
        task.run(60, lambda step: scheduler.step())

    assert messages() == {}


@pytest.mark.parametrize("name", ["CosineAnnealingLR", "OneCycleLR", "SequentialLR"])
def test_made_of_epochs(training, track, messages, name: str) -> None:
    """A schedule of epochs that is stepped per epoch, for most of its length, has no diagnosis."""
    builds = {**SCHEDULES, "SequentialLR": lambda o: warmup_cosine(o, 13)}
    task = training(momentum=0.9)
    length = {"SequentialLR": 13}.get(name, 60)
    scheduler = builds[name](task.optimizer)
    with track(task.optimizer, scheduler):
        task.run(3 * length, lambda step: step % 3 == 2 and scheduler.step())

    assert messages() == {}


def test_far_too_long(training, track, messages) -> None:
    """LR002: correct steps that use only 3 % of the schedule are reported with T_max."""
    task = training()
    scheduler = CosineAnnealingLR(task.optimizer, 1000)
    with track(task.optimizer, scheduler):
        task.run(30, lambda step: scheduler.step())

    assert messages() == {
        "LR002": "CosineAnnealingLR used 3 % of its length (T_max=1000): its count reached 30 in "
        "30 optimizer steps."
    }


def test_ended_early_by_hand(training, track, messages) -> None:
    """A schedule that Ctrl-C ended early is not LR002."""
    task = training()
    scheduler = CosineAnnealingLR(task.optimizer, 1000)
    with pytest.raises(KeyboardInterrupt), track(task.optimizer, scheduler):
        task.run(30, lambda step: scheduler.step())
        raise KeyboardInterrupt

    assert messages() == {}


def test_a_schedule_used_in_two_parts(training, track, histories) -> None:
    """A first half is LR002; the resumed run that uses the rest has no diagnosis."""
    task = training()
    scheduler = CosineAnnealingLR(task.optimizer, 60)
    with track(task.optimizer, scheduler) as run:
        task.run(25, lambda step: scheduler.step())
    (before,) = histories()
    saved = copy.deepcopy([task.optimizer.state_dict(), scheduler.state_dict(), run.state_dict()])
    task = training()
    scheduler = CosineAnnealingLR(task.optimizer, 60)
    with track(task.optimizer, scheduler, resume=saved[2]["id"]) as again:
        task.optimizer.load_state_dict(saved[0])
        scheduler.load_state_dict(saved[1])
        again.load_state_dict(saved[2])
        task.run(35, lambda step: scheduler.step())
    (after,) = histories()

    assert [diagnosis["code"] for diagnosis in before.run.diagnoses] == ["LR002"]
    assert after.run.diagnoses == ()
    assert after.steps.size == 60


def test_every_kth_step(training, track, messages) -> None:
    """`every=k` changes what is recorded, not what is counted."""
    task = training()
    scheduler = CosineAnnealingLR(task.optimizer, 60)
    with track(task.optimizer, scheduler, every=7):
        task.run(60, lambda step: scheduler.step())

    assert messages() == {}


@pytest.mark.parametrize(
    "build", [lambda o: CosineAnnealingLR(o, 20), lambda o: warmup_cosine(o, 30)]
)
def test_a_cosine_that_rises_again(training, track, messages, build: Build) -> None:
    """LR003: a cosine is shorter than the 60 steps of the training."""
    task = training()
    scheduler = build(task.optimizer)
    with track(task.optimizer, scheduler):
        task.run(60, lambda step: scheduler.step())

    assert list(messages()) == ["LR003"]
    assert "where a cosine rises again: step 59 of " in messages()["LR003"]


@pytest.mark.parametrize(
    "build",
    [
        lambda o: CosineAnnealingWarmRestarts(o, 20),
        lambda o: CyclicLR(o, 0.01, 0.1, step_size_up=10, cycle_momentum=False),
        lambda o: CosineAnnealingLR(o, 59),
        lambda o: LinearLR(o, 0.1, total_iters=20),
    ],
    ids=["restarts", "cycles", "one step over", "a warm-up that is over"],
)
def test_schedules_that_may_go_on(training, track, messages, build: Build) -> None:
    """Schedules that repeat, end with a step, or stay constant are not LR003."""
    task = training()
    scheduler = build(task.optimizer)
    with track(task.optimizer, scheduler):
        task.run(60, lambda step: scheduler.step())

    assert messages() == {}


def test_a_one_cycle_that_is_stepped_too_often(training, track, messages) -> None:
    """LR003: torch raises in the middle of the training, and the diagnosis has the reason."""
    task = training(momentum=0.9)
    scheduler = OneCycleLR(task.optimizer, 0.1, total_steps=20)
    with pytest.raises(ValueError, match="Tried to step"), track(task.optimizer, scheduler):
        task.run(60, lambda step: scheduler.step())

    assert messages() == {
        "LR003": "OneCycleLR was stepped past its end (total_steps=20), after 21 optimizer steps; "
        "torch raises an error there."
    }


def test_a_one_cycle_that_is_used_up(training, track, messages) -> None:
    """LR003: a loop that guards the step trains on at the last rate."""
    task = training(momentum=0.9)
    scheduler = OneCycleLR(task.optimizer, 0.1, total_steps=20)
    with track(task.optimizer, scheduler):
        task.run(60, lambda step: step < 19 and scheduler.step())

    assert messages() == {
        "LR003": "OneCycleLR ran out (step 19 of 20): the last 41 of 60 optimizer steps ran at "
        "its final learning rate."
    }


def test_a_plateau_schedule_may_come_first(training, track, messages) -> None:
    """A plateau schedule that is given a metric before the first step is not LR005."""
    task = training()
    scheduler = ReduceLROnPlateau(task.optimizer, patience=1)
    with track(task.optimizer, scheduler):
        scheduler.step(9.0)
        task.run(30, lambda step: step % 5 == 4 and scheduler.step(8.0 - step % 10))

    assert "LR005" not in messages()


def test_schedulers_without_a_count(training, track, messages) -> None:
    """A third-party scheduler without a step count gets no diagnosis."""

    class Mine:
        def step(self) -> None:
            pass

    task = training()
    with track(task.optimizer, Mine()):
        task.run(30)

    assert messages() == {}


@pytest.mark.parametrize("has_length", [True, False])
def test_a_function_of_unknown_length(training, track, messages, has_length: bool) -> None:
    """LambdaLR has no known length, unless it has the settings of transformers."""
    from functools import partial

    def fall(step: int, *, num_training_steps: int) -> float:
        return max(0.1, 1 - step / num_training_steps)

    task = training()
    function = partial(fall, num_training_steps=1000)
    scheduler = LambdaLR(task.optimizer, function if has_length else lambda step: function(step))
    with track(task.optimizer, scheduler):
        task.run(30, lambda step: scheduler.step())

    assert list(messages()) == (["LR002"] if has_length else [])


def test_state_is_not_touched(training, track) -> None:
    """Diagnoses leave nothing in the state, copies or pickles of scheduler and optimizer."""
    task = training()
    scheduler = lr_scheduler.StepLR(task.optimizer, 3)
    before = set(vars(scheduler)), set(vars(task.optimizer))
    with track(task.optimizer, scheduler):
        task.run(3, lambda step: scheduler.step())
        copied = copy.deepcopy(scheduler)

    assert set(vars(scheduler)) == before[0]
    assert set(vars(task.optimizer)) - before[1] <= {"_opt_called"}
    assert copied.last_epoch == 3
