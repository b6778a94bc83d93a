"""LR014 to LR018: each mistake in how schedule and learning rate fit together, and its twin."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as ls

from lrtrack.records import State
from lrtrack.stats.diagnose.rate_source import RateMismatch
from tests.diagnoses.loops import Records, messages_of, schedule

#: Schedules whose settings count epochs: 300 steps are 30 epochs of ten.
FOR_EPOCHS = {
    "StepLR": lambda o: ls.StepLR(o, 10),
    "ExponentialLR": lambda o: ls.ExponentialLR(o, 0.9),
    "MultiStepLR": lambda o: ls.MultiStepLR(o, [15, 25]),
    "CosineAnnealingWarmRestarts": lambda o: ls.CosineAnnealingWarmRestarts(o, 5),
    "SequentialLR": lambda o: ls.SequentialLR(
        o, [ls.LinearLR(o, total_iters=5), ls.ExponentialLR(o, 0.9)], [5]
    ),
}


@pytest.mark.parametrize("build", FOR_EPOCHS.values(), ids=FOR_EPOCHS)
def test_epochs_counted_in_batches(build: Any) -> None:
    """LR014: a schedule for epochs is stepped after every batch; its twin, after every epoch."""
    assert list(messages_of(schedule(build, 300))) == ["LR014"]
    assert messages_of(schedule(build, 300, every=10)) == {}


def test_what_a_schedule_for_epochs_did() -> None:
    """LR014 says what came of it, in figures."""
    by_step = messages_of(schedule(FOR_EPOCHS["StepLR"], 300))["LR014"]
    restarts = messages_of(schedule(FOR_EPOCHS["CosineAnnealingWarmRestarts"], 300))["LR014"]

    assert by_step == (
        "StepLR seems to be stepped after every batch, although its settings count epochs: "
        "with step_size=10, the learning rate was under a thousandth of its peak (0.1) in 87 % of "
        "the recorded steps."
    )
    assert "with T_0=5, it restarted 59 times in 300 recorded steps" in restarts


@pytest.mark.parametrize(
    "build",
    [
        lambda o: ls.StepLR(o, 100),
        lambda o: ls.MultiStepLR(o, [150, 225]),
        lambda o: ls.ExponentialLR(o, 0.99),
        lambda o: ls.ExponentialLR(o, 0.98),
        lambda o: ls.CosineAnnealingWarmRestarts(o, 60),
        lambda o: ls.CosineAnnealingWarmRestarts(o, 5, T_mult=2),
        lambda o: ls.OneCycleLR(o, 0.1, total_steps=400),
        lambda o: ls.CyclicLR(o, 0.05, 0.1, step_size_up=50),
        lambda o: ls.CosineAnnealingLR(o, 300),
        lambda o: ls.PolynomialLR(o, 300),
        lambda o: ls.LambdaLR(o, lambda step: 1.0),
        lambda o: ls.StepLR(o, 10, gamma=1.0),
    ],
)
def test_schedules_for_steps(build: Any) -> None:
    """A schedule whose settings count steps, or that is constant by them, is no finding."""
    assert messages_of(schedule(build, 300)) == {}


def test_a_short_run_is_no_finding() -> None:
    """LR014 waits for 200 steps: a trial may cut the rate every few of them."""
    assert messages_of(schedule(FOR_EPOCHS["StepLR"], 199)) == {}


@pytest.mark.parametrize(
    "build", [lambda o: ls.CosineAnnealingLR(o, 60), lambda o: ls.StepLR(o, 20)]
)
def test_a_scheduler_of_another_optimizer(build: Any) -> None:
    """LR015: the scheduler moves the rate of an optimizer that makes no steps."""
    mistake = schedule(build, 60, other=True)

    assert list(messages_of(mistake, State.RUNNING)) == ["LR015"]
    assert "the learning rate stayed at 0.1 in all of them" in messages_of(mistake)["LR015"]
    assert messages_of(schedule(build, 60)) == {}


def test_rates_that_a_scheduler_has_not_set_and_that_never_moved() -> None:
    """LR015 replaces LR031 where the rate never moved, because it says more."""
    records = schedule(lambda o: ls.LambdaLR(o, lambda step: 0.9**step), 60, other=True)
    assert records.observations is not None
    mismatch = RateMismatch(1, 59, 0.1, 0.09)
    records.observations = replace(records.observations, mismatch=mismatch)

    assert list(messages_of(records)) == ["LR015"]


def test_a_schedule_whose_first_change_never_comes() -> None:
    """LR015: the training ends before the first cut; not reported before its end."""
    records = schedule(lambda o: ls.StepLR(o, 100), 80)
    message = messages_of(records)["LR015"]

    assert "StepLR was stepped 80 times" in message
    assert "its first change comes at its step 100" in message
    assert messages_of(records, State.RUNNING) == {}
    assert messages_of(schedule(lambda o: ls.StepLR(o, 70), 80)) == {}


@pytest.mark.parametrize(
    ("lr", "build", "count"),
    [
        (1e-3, lambda o: ls.OneCycleLR(o, 1.0, total_steps=90), 1),
        (1e-3, lambda o: ls.OneCycleLR(o, 1e-2, total_steps=90), 0),
        (1e-2, lambda o: ls.OneCycleLR(o, 1e-2, total_steps=90), 0),
        (1.0, lambda o: ls.OneCycleLR(o, 1e-2, total_steps=90), 1),
        (1e-2, lambda o: ls.CyclicLR(o, 0.1, 1.0, step_size_up=30), 1),
        (0.1, lambda o: ls.CyclicLR(o, 0.1, 1.0, step_size_up=30), 0),
    ],
)
def test_a_rate_that_the_schedule_ignores(lr: float, build: Any, count: int) -> None:
    """LR016: a rate far outside the range of the schedule was not used."""
    assert len(messages_of(schedule(build, 60, lr=lr))) == count


def test_the_figures_of_an_ignored_rate() -> None:
    """LR016 has the given rate, the range, and the ratio; it is certain at once."""
    records = schedule(lambda o: ls.OneCycleLR(o, 1.0, total_steps=90), 1, lr=1e-3)

    assert messages_of(records, State.RUNNING)["LR016"] == (
        "the optimizer's lr=0.001 was never used: OneCycleLR sets the learning rate itself, from "
        "0.04 (div_factor=25) to 1 (max_lr), 1,000 times lr."
    )


@pytest.mark.parametrize("cosine", [ls.CosineAnnealingLR, ls.CosineAnnealingWarmRestarts])
def test_a_floor_above_the_rate(cosine: Any) -> None:
    """LR017: eta_min is above the rate, so that the cosine rises; certain at once."""
    mistake = schedule(lambda o: cosine(o, 50, eta_min=1e-2), 2, lr=1e-3)
    sound = schedule(lambda o: cosine(o, 50, eta_min=1e-5), 50, lr=1e-3)

    assert "raises it 10 times" in messages_of(mistake, State.RUNNING)["LR017"]
    assert messages_of(sound) == {}


@pytest.mark.parametrize(("floor", "codes"), [(1e-2, ["LR017"]), (1e-5, [])])
def test_a_floor_behind_a_warm_up(floor: float, codes: list[str]) -> None:
    """LR017 compares with the optimizer's rate, which a warm-up begins far below."""

    def build(optimizer: torch.optim.Optimizer) -> Any:
        parts = [ls.LinearLR(optimizer, 1e-4, total_iters=5)]
        parts.append(ls.CosineAnnealingLR(optimizer, 50, eta_min=floor))
        return ls.SequentialLR(optimizer, parts, [5])

    assert list(messages_of(schedule(build, 50, lr=1e-3))) == codes


def test_a_floor_above_the_rate_of_one_group() -> None:
    """LR017 names the param group whose rate is below the floor."""
    records = schedule(lambda o: ls.CosineAnnealingLR(o, 50, eta_min=1e-4), 30)
    rates = records.metrics["lr"]
    records.metrics = {"lr": rates, "lr/head": rates, "lr/body": [1e-5] * 30}

    assert "of param group body, 1e-05" in messages_of(records)["LR017"]


@pytest.mark.parametrize(
    ("rates", "codes"),
    [([0.0] * 30, ["LR018"]), ([0.0] * 15 + [0.1] * 15, []), ([1e-9] * 30, [])],
    ids=["never trained", "trained later", "hardly trained"],
)
def test_a_group_of_rate_zero(rates: list[float], codes: list[str]) -> None:
    """LR018: a group is never trained while another one is; a group may begin later."""
    records = Records({"lr": [0.1] * 30, "lr/head": [0.1] * 30, "lr/body": rates})

    assert list(messages_of(records)) == codes
    assert messages_of(records, State.RUNNING) == {}
