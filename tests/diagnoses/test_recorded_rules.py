"""LR014 to LR025 in a run that `track()` records, and in one that is read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CyclicLR, OneCycleLR

from lrtrack.capture.given_rates import given_rate
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State

WEIGHTS = [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))]


def test_the_rate_that_an_optimizer_was_created_with(training, track, messages) -> None:
    """LR016 knows the rate that OneCycleLR has replaced before the block began."""
    task = training(lr=1e-3 / 3)
    scheduler = OneCycleLR(task.optimizer, 0.1, total_steps=10, cycle_momentum=False)
    with track(task.optimizer, scheduler):
        task.run(8, lambda step: scheduler.step())

    assert "the optimizer's lr=0.000333333 was never used" in messages()["LR016"]


@pytest.mark.parametrize(
    ("optimizer", "rate"),
    [
        (torch.optim.SGD(WEIGHTS, lr=0.5), 0.5),
        (torch.optim.Adam(WEIGHTS), None),
        (torch.optim.SGD([{"params": [one], "lr": 0.1} for one in WEIGHTS], lr=0.5), None),
        (torch.optim.Adam(WEIGHTS, lr=torch.tensor(0.5)), None),
        (None, None),
    ],
    ids=["given", "default", "several groups", "tensor", "no optimizer"],
)
def test_which_rates_were_given(optimizer: Any, rate: float | None) -> None:
    """A rate counts if somebody gave it for all parameters, whatever a scheduler made of it."""
    if rate is not None:
        CyclicLR(optimizer, 0.01, 0.1, cycle_momentum=False)

    assert given_rate(optimizer) == rate


def test_the_journal_passes_times_on(tmp_path: Path) -> None:
    """What looks at rows before they are written also gets the times of the steps."""
    seen = []
    writer = JournalWriter(
        tmp_path / "journal", Run("a" * 32, "run"), on_rows=lambda *rows: seen.append(rows)
    )
    writer.appended((0, 5.0, {"lr": 0.1}))
    writer.appended((1, 7.5, {"lr": 0.1}))
    writer.close(State.FINISHED)

    assert np.concatenate([times for _, times, _ in seen]).tolist() == [5.0, 7.5]
