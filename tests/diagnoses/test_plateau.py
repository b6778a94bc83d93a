"""LR011: plateau schedules that cannot act or act at once, and those without a mistake."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import (
    ReduceLROnPlateau,
)

RISING = [0.1 * (1 - 0.8**n) for n in range(12)]
FALLING = [0.9**n for n in range(12)]
CREEPING = [1.0 - 0.0005 * n for n in range(12)]


def on_a_plateau(training: Any, track: Any, values: list[float], **given: Any) -> None:
    """Make five steps per epoch, and give the scheduler a value after each epoch."""
    task = training()
    scheduler = ReduceLROnPlateau(task.optimizer, **given)
    with track(task.optimizer, scheduler):
        for value in values:
            task.run(5)
            scheduler.step(value)


@pytest.mark.parametrize(
    ("values", "given", "message"),
    [
        (RISING, {"patience": 1}, "as soon as it could (5 cuts in 12 calls): by mode='min', its "
         "metric never got better than the first value."),
        (FALLING[:8], {}, "could not act: it takes at least 12 calls to exceed patience=10, and it "
         "was given its metric 8 times."),
        (CREEPING, {"patience": 2}, "never cut the learning rate in 12 calls, although its metric "
         "improved by only 0.4 % since call 4: it got better at least every 3 calls."),
    ],
    ids=["the wrong mode", "too much patience", "never"],
)  # fmt: skip
def test_plateaus(training, track, messages, values: list[float], given: Any, message: str) -> None:
    """LR011: the schedule cut at every opportunity, could never cut, or never had to."""
    on_a_plateau(training, track, values, **given)

    assert {code: text.partition("the plateau schedule ")[2].removeprefix("cut the learning rate ")
            for code, text in messages().items()} == {"LR011": message}  # fmt: skip


@pytest.mark.parametrize(
    ("values", "given"),
    [
        (RISING, {"patience": 1, "mode": "max", "threshold": 0.1}),
        ([1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.4], {"patience": 2}),
        (FALLING, {"patience": 2}),
        (FALLING[:6], {"patience": 2}),
        ([1.0] + [0.5] * 12, {"patience": 1, "min_lr": 0.0005}),
        (FALLING[:2], {"patience": 0}),
    ],
    ids=[
        "the right mode",
        "a plateau",
        "getting better",
        "getting better for a while",
        "a minimum",
        "two epochs",
    ],
)
def test_plateaus_as_they_should_be(
    training, track, messages, values: list[float], given: Any
) -> None:
    """A plateau schedule that waits and then cuts, or had no time to, is not LR011."""
    on_a_plateau(training, track, values, **given)

    assert messages() == {}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_a_plateau_decides_as_torch_does(seed: int, mode: str, threshold_mode: str) -> None:
    """The replay makes the same number of cuts as torch's own class, for any parameters."""
    from lrtrack.capture.describe import describe
    from lrtrack.stats.diagnose.plateau import Plateau

    random = torch.Generator().manual_seed(seed)
    values = torch.randn(200, generator=random, dtype=torch.float64).cumsum(0) / 10
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    options = {
        "mode": mode,
        "threshold_mode": threshold_mode,
        "patience": seed,
        "cooldown": seed % 3,
    }
    scheduler = ReduceLROnPlateau(optimizer, factor=0.99, threshold=0.05, eps=0.0, **options)
    cuts, rate = 0, 1.0
    for value in values.tolist():
        scheduler.step(value)
        cuts += optimizer.param_groups[0]["lr"] != rate
        rate = optimizer.param_groups[0]["lr"]
    plateau = Plateau.of(describe(scheduler))
    plateau.add(values.tolist())

    assert (plateau.calls, plateau.cuts) == (200, cuts)
    assert cuts > 0
