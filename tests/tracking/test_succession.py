"""A scheduler that another one replaces in mid-training."""

from __future__ import annotations

import torch
from torch.optim.lr_scheduler import ExponentialLR, StepLR

from lrtrack.schedules import Schedule
from lrtrack.tracking import track
from lrtrack.tracking.succession import succeeded

STEP, SWA = Schedule("StepLR", {"step_size": 2}), Schedule("SWALR", {"swa_lr": 0.1})
AS_PARTS = [{"name": "StepLR", "step_size": 2}, {"name": "SWALR", "swa_lr": 0.1}]


def test_both_are_in_the_schedule() -> None:
    """The schedule has both descriptions, and the step at which the second begins."""
    both = succeeded(STEP, SWA, 8)

    assert both == Schedule("StepLR -> SWALR", {"schedulers": AS_PARTS, "begin": [8]})


def test_a_third_one() -> None:
    """A third scheduler is added to the first two."""
    three = succeeded(succeeded(STEP, SWA, 8), STEP, 12)

    assert three == Schedule(
        "StepLR -> SWALR -> StepLR", {"schedulers": [*AS_PARTS, AS_PARTS[0]], "begin": [8, 12]}
    )


def test_the_rates_of_the_new_one_are_its_own(clean_place) -> None:
    """A run whose scheduler is replaced shows no diagnosis that its rates were not the first's."""
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    scheduler = StepLR(optimizer, 10)
    rates = []
    block = track(optimizer, scheduler, tracker="local")
    with block as run:
        for step in range(60):
            if step == 30:
                scheduler = ExponentialLR(optimizer, 0.99)
                assert block.recording is not None
                block.recording.succession.follow(scheduler)
            rates.append(optimizer.param_groups[0]["lr"])
            weight.square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()

    assert run.summary()["lr"] == rates[-1]
    assert [d for d in run.diagnoses if d["code"] in ("LR002", "LR003", "LR014", "LR031")] == []
