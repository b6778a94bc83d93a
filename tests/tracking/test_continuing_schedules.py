"""What a resumed run says about its learning rates: nothing, unless a schedule was lost."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import Adam
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    OneCycleLR,
    SequentialLR,
    StepLR,
)

import lrtrack

Make = Callable[[Any], Any]


def chain(optimizer: Any, last: int = -1) -> SequentialLR:
    """Return a warm-up and a cosine of 60 steps in all."""
    parts = [LinearLR(optimizer, 0.1, total_iters=10), CosineAnnealingLR(optimizer, 50)]
    return SequentialLR(optimizer, parts, [10], last_epoch=last)


def cosine(optimizer: Any) -> CosineAnnealingLR:
    """Return a cosine of 60 steps."""
    return CosineAnnealingLR(optimizer, 60)


MAKERS: dict[str, Make] = {
    "cosine": cosine,
    "chain": chain,
    "steps": lambda optimizer: StepLR(optimizer, 10, 0.5),
    "restarts": lambda optimizer: CosineAnnealingWarmRestarts(optimizer, 10),
    "one cycle": lambda optimizer: OneCycleLR(optimizer, 0.1, total_steps=70),
    "function": lambda optimizer: LambdaLR(optimizer, lambda step: 1.0 / (1.0 + step / 10)),
    "spec": lambda optimizer: lrtrack.scheduler(optimizer, "wsd(warmup=5, decay=20)", 60),
}


def new() -> tuple[torch.nn.Parameter, Adam]:
    """Return a weight and its optimizer."""
    weight = torch.nn.Parameter(torch.ones(2))
    return weight, Adam([weight], lr=0.1)


def continued(make: Make, resume: Callable[[Adam, Any, Any], Any], local: Any) -> dict[str, str]:
    """Return the diagnoses of a training of 60 steps that is resumed after 30, by code.

    Args:
        make: makes the scheduler of the first half.
        resume: makes that of the second, given its optimizer and the states of both.
        local: reads the runs.
    """

    def train(weight: torch.nn.Parameter, optimizer: Adam, scheduler: Any) -> None:
        for _ in range(30):
            optimizer.zero_grad()
            weight.sum().backward()
            optimizer.step()
            scheduler.step()

    weight, optimizer = new()
    scheduler = make(optimizer)
    with lrtrack.track(optimizer, scheduler, tracker="local") as run:
        train(weight, optimizer, scheduler)
    states = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))
    weight, optimizer = new()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = resume(optimizer, *states)
        with lrtrack.track(optimizer, scheduler, tracker="local", resume=run.id):
            train(weight, optimizer, scheduler)
    (history,) = local()
    return {each["code"]: each["message"] for each in history.run.diagnoses}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_sound_resume(make: Make, local) -> None:
    """A schedule that goes on with both states is neither a jump nor moved by something else."""

    def resume(optimizer: Adam, own: Any, state: Any) -> Any:
        scheduler = make(optimizer)
        optimizer.load_state_dict(own)
        scheduler.load_state_dict(state)
        return scheduler

    assert continued(make, resume, local).keys() & {"LR030", "LR031"} == set()


@pytest.mark.parametrize(
    ("name", "after"),
    [("cosine", "0.04997 (step 31)"), ("chain", "0.1244 (step 31)"),
     ("restarts", "0.09755 (step 31)"), ("function", "0.1 (step 30)")],
)  # fmt: skip
def test_without_the_schedulers_state(name: str, after: str, local) -> None:
    """A schedule that begins again is reported, even where its first rate is that of before."""

    def resume(optimizer: Adam, own: Any, state: Any) -> Any:
        scheduler = MAKERS[name](optimizer)
        if name != "function":  # LambdaLR computes its rate from the count alone
            optimizer.load_state_dict(own)
        return scheduler

    message = continued(MAKERS[name], resume, local)["LR030"]
    assert f"to {after}, where the training was continued: the schedule began again" in message


def test_a_chain_that_is_made_at_its_last_step(local) -> None:
    """`SequentialLR(last_epoch=…)` computes other rates, and the first one shows it."""

    def resume(optimizer: Adam, own: Any, state: Any) -> Any:
        optimizer.load_state_dict(own)
        return chain(optimizer, last=29)

    message = continued(chain, resume, local)["LR030"]
    assert "from 0.06841 (step 29) to 0.01 (step 30)" in message


def test_a_rate_that_is_changed_at_the_resume(local) -> None:
    """A rate that was changed by hand is a jump, and the schedule's own from there on."""

    def resume(optimizer: Adam, own: Any, state: Any) -> Any:
        scheduler = cosine(optimizer)
        optimizer.load_state_dict(own)
        scheduler.load_state_dict(state)
        optimizer.param_groups[0]["lr"] *= 0.5
        return scheduler

    codes = continued(cosine, resume, local)
    assert "from 0.05262 (step 29) to 0.025 (step 30)" in codes["LR030"]
    assert "LR031" not in codes


def test_a_scheduler_that_is_loaded_with_other_settings(local) -> None:
    """A state that is loaded in the block brings its own settings, which are the scheduler's."""
    weight, optimizer = new()
    scheduler = CosineAnnealingLR(optimizer, 40)
    other = CosineAnnealingLR(new()[1], 80).state_dict()
    with lrtrack.track(optimizer, scheduler, tracker="local"):
        scheduler.load_state_dict(other)
        for _ in range(30):
            optimizer.zero_grad()
            weight.sum().backward()
            optimizer.step()
            scheduler.step()
    (history,) = local()

    assert "LR031" not in {each["code"] for each in history.run.diagnoses}


@pytest.mark.parametrize("name", ["first", "second"])
def test_one_of_two_is_moved_by_hand_too(name: str, local) -> None:
    """LR031 names the optimizer whose rate was not its scheduler's alone."""
    pairs = {"first": new(), "second": new()}
    optimizers = {key: optimizer for key, (_, optimizer) in pairs.items()}
    schedulers = {key: ExponentialLR(optimizer, 0.99) for key, optimizer in optimizers.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with lrtrack.track(optimizers, schedulers, tracker="local"):
            for step in range(40):
                if step == 20:
                    optimizers[name].param_groups[0]["lr"] *= 0.5
                sum(weight.sum() for weight, _ in pairs.values()).backward()
                for key, optimizer in optimizers.items():
                    optimizer.step()
                    schedulers[key].step()
    (history,) = local()
    messages = [d["message"] for d in history.run.diagnoses if d["code"] == "LR031"]

    (message,) = messages
    assert message.startswith(f"{name}: from step 20 on")
    assert "0.5 times that" in message


def test_the_schedule_of_one_of_two_begins_again(local) -> None:
    """LR030 names the optimizer whose scheduler was not loaded."""

    def make() -> tuple[list[torch.nn.Parameter], dict[str, Adam], dict[str, Any]]:
        pairs = [new() for _ in range(2)]
        optimizers = dict(zip("ab", (optimizer for _, optimizer in pairs), strict=True))
        schedulers = {name: ExponentialLR(own, 0.95) for name, own in optimizers.items()}
        return [weight for weight, _ in pairs], optimizers, schedulers

    def train(weights: Any, optimizers: Any, schedulers: Any) -> None:
        for _ in range(20):
            sum(weight.sum() for weight in weights).backward()
            for name, optimizer in optimizers.items():
                optimizer.step()
                schedulers[name].step()

    parts = make()
    with lrtrack.track(parts[1], parts[2], tracker="local") as run:
        train(*parts)
    states = copy.deepcopy((parts[1]["a"].state_dict(), parts[2]["a"].state_dict()))
    parts = make()
    parts[1]["a"].load_state_dict(states[0])
    parts[2]["a"].load_state_dict(states[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with lrtrack.track(parts[1], parts[2], tracker="local", resume=run.id):
            train(*parts)
    (history,) = local()
    messages = [d["message"] for d in history.run.diagnoses if d["code"] == "LR030"]

    assert [message.partition(":")[0] for message in messages] == ["b"]
    assert "to 0.1 (step 20)" in messages[0]
