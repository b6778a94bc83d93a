"""What a capture undoes when it ends, and which loads it takes for its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lrtrack.capture import step_capture
from lrtrack.capture.loads import Loads
from lrtrack.capture.step_capture import StepCapture


def sgd() -> torch.optim.SGD:
    """An optimizer of one parameter."""
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.5)


def test_values_of_a_plateau_after_the_end() -> None:
    """A capture that has ended gets no values, while another one goes on."""
    optimizer = sgd()
    scheduler = ReduceLROnPlateau(optimizer)
    first: list[float] = []
    second: list[float] = []
    one = StepCapture(optimizer, scheduler, on_plateau=first.append)
    other = StepCapture(optimizer, scheduler, on_plateau=second.append)
    one.attach()
    other.attach()
    scheduler.step(1.0)
    one.detach()
    scheduler.step(2.0)
    other.detach()

    assert (first, second) == ([1.0], [1.0, 2.0])


def test_a_block_fails_only_if_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes learn of a failure where an exception ends the block, and not otherwise."""
    left: list[bool] = []
    monkeypatch.setattr(
        step_capture.attendance, "leave", lambda capture, failed: left.append(failed)
    )
    capture = StepCapture(sgd())
    capture.attach()
    capture.detach()
    capture.detach(failed=True)

    assert left == [False, True]


@pytest.mark.parametrize(
    ("at", "has_stepped", "found"), [(7, False, 3), (7, True, None), (6, True, 3), (5, True, 2)]
)
def test_a_state_from_before_the_block(at: int, has_stepped: bool, found: int | None) -> None:
    """A scheduler at its latest count, whose optimizer has stepped here, has loaded nothing."""
    optimizer: Any = sgd()
    if has_stepped:
        optimizer._opt_called = True
    capture: Any = SimpleNamespace(step=-1, made=0, stepping=SimpleNamespace(at=at, scheduler=None))
    loads = Loads(capture, optimizer)
    loads.pace.begin(2, 5)
    loads.pace.begin(3, 7)

    assert loads.found() == found
