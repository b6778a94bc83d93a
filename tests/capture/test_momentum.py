"""Momentum is recorded if the schedule changes it."""

from __future__ import annotations

import pytest
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CyclicLR,
    ExponentialLR,
    OneCycleLR,
    StepLR,
)


@pytest.mark.parametrize(
    ("optimizer_of", "scheduler_of", "read"),
    [
        (
            lambda p: SGD(p, lr=0.1, momentum=0.9),
            lambda o: OneCycleLR(o, 0.1, total_steps=10),
            lambda group: group["momentum"],
        ),
        (
            lambda p: Adam(p, lr=0.1),
            lambda o: OneCycleLR(o, 0.1, total_steps=10),
            lambda group: group["betas"][0],
        ),
        (
            lambda p: SGD(p, lr=0.1, momentum=0.9),
            lambda o: CyclicLR(o, 0.01, 0.1, step_size_up=3),
            lambda group: group["momentum"],
        ),
        (
            lambda p: SGD(p, lr=0.1, momentum=0.9),
            lambda o: ChainedScheduler(
                [ExponentialLR(o, 0.9), OneCycleLR(o, 0.1, total_steps=10)], optimizer=o
            ),
            lambda group: group["momentum"],
        ),
    ],
    ids=["OneCycleLR", "OneCycleLR on Adam", "CyclicLR", "inside ChainedScheduler"],
)
def test_momentum_where_the_schedule_moves_it(
    make, watch, optimizer_of, scheduler_of, read
) -> None:
    """Cycled momentum is recorded from the first step on, as the step used it."""
    model, loss = make()
    optimizer = optimizer_of(model.parameters())
    scheduler = scheduler_of(optimizer)
    truth = []
    with watch(optimizer, scheduler) as recording:
        for _ in range(8):
            loss().backward()
            truth.append(read(optimizer.param_groups[0]))
            optimizer.step()
            scheduler.step()

    assert len(set(truth)) > 2
    assert recording.column("momentum") == truth


@pytest.mark.parametrize(
    "scheduler_of",
    [
        lambda o: None,
        lambda o: StepLR(o, 2),
        lambda o: OneCycleLR(o, 0.1, total_steps=10, cycle_momentum=False),
        lambda o: CyclicLR(o, 0.01, 0.1, cycle_momentum=False),
    ],
)
def test_momentum_that_stands_still_is_no_metric(make, watch, scheduler_of) -> None:
    """Momentum that nothing changes is a parameter of the optimizer and not recorded."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = scheduler_of(optimizer)
    with watch(optimizer, scheduler) as recording:
        for _ in range(3):
            loss().backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()

    assert recording.column("momentum") == [None] * 3


def test_momentum_moved_by_hand_is_recorded_from_there_on(make, watch) -> None:
    """Momentum that the user changes by hand is recorded from that step on."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    with watch(optimizer) as recording:
        for step in range(4):
            optimizer.param_groups[0]["momentum"] = (0.9, 0.9, 0.5, 0.9)[step]
            loss().backward()
            optimizer.step()

    assert recording.column("momentum") == [None, None, 0.5, 0.9]
