"""What diagnoses claim where the same signs have several causes: each mistake has a sound twin."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    ReduceLROnPlateau,
    StepLR,
)

from lrtrack.records import Run, State
from lrtrack.schedules import Schedule
from lrtrack.stats.diagnose import Observations, RunningStatistics, diagnose, diagnoses_of
from lrtrack.stats.diagnose.thresholds import NEAR_ZERO

COSINE = Schedule("CosineAnnealingLR", {"T_max": 100, "eta_min": 0.0})


@pytest.mark.parametrize(
    ("build", "epochs", "batches", "used"),
    [
        (lambda o: StepLR(o, 30), 10, 20, "33 % of its length (step_size=30)"),
        (lambda o: MultiStepLR(o, [100, 150]), 40, 5, "27 % of its length (milestones up to 150)"),
        (lambda o: CosineAnnealingLR(o, 100), 20, 10, "20 % of its length (T_max=100)"),
    ],
    ids=["StepLR", "MultiStepLR", "cosine"],
)
def test_a_schedule_of_epochs_is_not_to_be_stepped_at_each_step(
    training, track, histories, build: Any, epochs: int, batches: int, used: str
) -> None:
    """LR002 advises other epochs where the length is far below the number of optimizer steps."""
    task = training()
    scheduler = build(task.optimizer)
    with track(task.optimizer, scheduler):
        for _ in range(epochs):
            task.run(batches)
            scheduler.step()
    ((diagnosis,),) = (diagnoses_of(history) for history in histories())

    assert diagnosis["message"] == (
        f"{type(scheduler).__name__} used {used}: it was stepped only every {batches} optimizer "
        f"steps, as if per epoch, and its count reached {epochs}."
    )
    assert diagnosis["hint"] == (
        f"if its length is in epochs, train for as many, or make it shorter ({epochs} for this "
        "run); ignore this if you will resume this run"
    )


def test_a_length_of_more_steps_than_were_made(training, track, histories) -> None:
    """LR002 leaves open whether a length far above the number of steps counts steps or epochs."""
    task = training()
    scheduler = CosineAnnealingLR(task.optimizer, 1000)
    with track(task.optimizer, scheduler):
        task.run(60, lambda step: step % 10 == 9 and scheduler.step())
    ((diagnosis,),) = (diagnoses_of(history) for history in histories())

    assert "if it is in optimizer steps, step it after each of them" in diagnosis["hint"]


def in_groups(task: Any, factors: list[Callable[[int], float]]) -> LambdaLR:
    """Give weight and bias a group each, with a schedule of its own."""
    weight, bias = task.model.parameters()
    groups = [{"params": [weight], "name": "body"}, {"params": [bias], "name": "head"}]
    task.optimizer = torch.optim.SGD(groups, lr=0.01)
    return LambdaLR(task.optimizer, factors)


def test_a_group_whose_rate_vanishes(training, track, messages) -> None:
    """LR004 names a group whose rate goes to 0 and stays there while another's does not."""
    task = training()
    scheduler = in_groups(task, [lambda step: max(0.0, 1 - step / 20), lambda step: 1.0])
    with track(task.optimizer, scheduler):
        task.run(60, lambda step: scheduler.step())

    assert messages() == {
        "LR004": "the learning rate of param group body was 0 or under a millionth of its peak "
        "(0.01) in the last 40 of 60 recorded steps, while that of other groups was not: these "
        "steps barely change its weights."
    }


@pytest.mark.parametrize(
    "factor",
    [
        lambda step: max(0.0, 1 - step / 58),
        lambda step: float(step >= 40),
        lambda step: float(step % 4 < 2),
    ],
    ids=["at the end", "later", "in turns"],
)
def test_a_group_whose_rate_is_0_at_times(training, track, messages, factor: Any) -> None:
    """A group whose rate is 0 at the very end, until it is unfrozen, or in turns, is not LR004."""
    task = training()
    scheduler = in_groups(task, [factor, lambda step: 1.0])
    with track(task.optimizer, scheduler):
        task.run(60, lambda step: scheduler.step())

    assert messages() == {}


def test_a_scheduler_that_is_never_stepped_though_a_group_is_added(
    training, track, messages
) -> None:
    """LR001 is reported although the number of groups changes."""
    task = training()
    weight, bias = task.model.parameters()
    task.optimizer = torch.optim.SGD([weight], lr=0.01)
    with track(task.optimizer, StepLR(task.optimizer, 10)):
        task.run(20)
        task.optimizer.add_param_group({"params": [bias]})
        task.run(20)

    assert list(messages()) == ["LR001"]


RATE = st.sampled_from([math.nan, 0.0, 1e-9, 0.01, 0.1, 1.0])


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(RATE, RATE).filter(lambda row: row[0] == row[0]), min_size=1),
    size=st.integers(1, 7),
)
def test_rates_of_groups_in_parts(rows: list[tuple[float, float]], size: int) -> None:
    """Vanished groups, and whether a rate has moved, follow their definition in any batches."""
    figures = RunningStatistics(COSINE)
    for at in range(0, len(rows), size):
        own = np.array(rows[at : at + size]).T
        columns = {"lr": own[0], "lr/a": own[0], "lr/b": own[1]}
        there = {name: (values, ~np.isnan(values)) for name, values in columns.items()}
        figures.add(np.arange(at, at + own.shape[1]), there)
    expected, still = {}, True
    for name, own in zip("ab", zip(*rows, strict=True), strict=True):
        rates = [rate for rate in own if not math.isnan(rate)]
        peak = max(rates, default=0.0)
        last = max((at for at, rate in enumerate(rates) if rate > NEAR_ZERO * peak), default=-1)
        if peak > 0.0 and last < len(rates) - 1:
            expected[name] = (len(rates) - 1 - last, peak)
        still = still and len(set(rates)) < 2

    assert (figures.groups.vanished(), figures.still) == (expected, still)


def test_the_norm_before_clipping(training, track, histories, messages) -> None:
    """LR006 names the norm of the step before as it was before clipping."""
    task = training(lr=1e30)
    with track(task.optimizer):
        for _ in range(30):
            task.backward()
            clip_grad_norm_(task.model.parameters(), 1e3)
            task.optimizer.step()
    (history,) = histories()
    step = int(np.flatnonzero(~np.isfinite(history.metrics["loss"]))[0])
    norm = history.metrics["grad_norm_preclip"][step - 1]

    assert messages()["LR006"].endswith(
        f"the step before had learning rate 1e+30 and gradient norm {norm:.4g} before clipping."
    )


def test_an_infinite_norm(training, track, messages) -> None:
    """LR006 calls an infinite gradient norm infinite."""
    task = training(lr=1e-12)
    with track(task.optimizer):
        for step in range(30):
            task.backward()
            if step == 3:
                task.model.bias.grad.fill_(math.inf)
            task.optimizer.step()

    assert messages()["LR006"] == (
        "the loss is inf from step 4 on; the step before had learning rate 1e-12 and an infinite "
        "gradient norm."
    )


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"eps": 0.1}, ": the change of 0.009 does not exceed eps=0.1"),
        ({"min_lr": 0.01}, ": it is not above min_lr=0.01"),
    ],
    ids=["eps", "min_lr"],
)
def test_cuts_without_effect(
    training, track, messages, options: dict[str, float], reason: str
) -> None:
    """LR011: cuts under `eps`, or at `min_lr`, leave the rate as it is."""
    task = training(lr=0.01)
    scheduler = ReduceLROnPlateau(task.optimizer, patience=1, **options)
    with track(task.optimizer, scheduler):
        for epoch in range(12):
            task.run(5)
            scheduler.step(0.5 ** min(epoch, 3))

    assert messages() == {
        "LR011": "the plateau schedule was due to cut the learning rate 3 times, but the rate was "
        f"never lower afterwards{reason}."
    }


def test_a_cut_after_the_last_step(training, track, messages) -> None:
    """A cut that no step follows is not called one without effect."""
    task = training(lr=0.01)
    scheduler = ReduceLROnPlateau(task.optimizer, patience=1)
    with track(task.optimizer, scheduler):
        for value in (1.0, 0.5, 0.5, 0.5):
            task.run(6)
            scheduler.step(value)

    assert messages() == {}


@pytest.mark.parametrize(("length", "codes"), [(120, []), (400, ["LR002", "LR012"])])
def test_a_length_in_batches(training, track, messages, length: int, codes: list[str]) -> None:
    """A schedule that is stepped four times a step, and ends with the training, is not LR012."""
    task = training()
    scheduler = LinearLR(task.optimizer, 1.0, 0.1, total_iters=length)
    with track(task.optimizer, scheduler):
        task.run(30, lambda step: [scheduler.step() for _ in range(4)])

    assert list(messages()) == codes


@pytest.mark.parametrize("size", [7, 1000])
def test_norms_that_stay_high(size: int) -> None:
    """LR009: norms that rise and stay high count once, and noise around an optimum not at all."""
    norms = np.ones(400)
    norms[100:] = 20.0
    norms[250:] = 1e-6
    norms[300::10] = 2e-5
    figures = RunningStatistics(COSINE)
    for at in range(0, 400, size):
        rows = slice(at, at + size)
        columns = {"lr": (0.1 * np.ones(norms[rows].size), None), "grad_norm": (norms[rows], None)}
        figures.add(np.arange(400)[rows], columns)

    assert (figures.spikes, figures.largest) == (1, 20.0)


def test_what_is_certain_before_the_end() -> None:
    """While a run makes steps, shares of it are not reported, but a cosine that rises again is."""
    run = Run("1" * 32, "r", COSINE)
    steps = np.arange(200)
    figures = RunningStatistics(COSINE)
    rates = np.where(steps < 20, 0.0, 0.05 * (1 + np.cos(np.pi * steps / 100)))
    figures.add(steps, {"lr": (rates, None)})
    seen = Observations(
        steps=200,
        total=200,
        begun=0,
        position=200,
        used=199,
        moves=199,
        skipped=90,
        loss_wanted=False,
    )

    def codes(state: State) -> list[str]:
        return [diagnosis["code"] for diagnosis in diagnose(run, figures, state, seen)]

    assert codes(State.RUNNING) == ["LR003"]
    assert codes(State.FINISHED) == ["LR003", "LR004", "LR026"]


def test_a_nan_may_still_be_put_right() -> None:
    """LR006 is certain once a later loss is there, because the last one can still be replaced."""
    run, figures = Run("1" * 32, "r", COSINE), RunningStatistics(COSINE)
    found = []
    for step, loss in enumerate((1.0, math.nan, math.nan)):
        figures.add(np.array([step]), {"lr": (np.array([0.1]), None),
                                       "loss": (np.array([loss]), None)})  # fmt: skip
        found.append(len(diagnose(run, figures, State.RUNNING)))

    assert found == [0, 0, 1]


def test_a_first_value_that_is_used(training, track, messages) -> None:
    """A loop whose scheduler also moves after the last step is not LR005, one that ends is."""
    task = training()
    scheduler = ExponentialLR(task.optimizer, 0.99)
    with track(task.optimizer, scheduler), pytest.warns(UserWarning, match="Detected call"):
        scheduler.step()
        task.run(30, lambda step: scheduler.step())

    assert messages() == {}
