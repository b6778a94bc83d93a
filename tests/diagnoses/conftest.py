"""A small training problem, and the diagnoses of the run that trained it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import lrtrack
from lrtrack.records import History
from lrtrack.stats.diagnose import diagnoses_of
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker

#: Called after each step, with its number.
After = Callable[[int], Any]


class Training:
    """A linear regression; `run` is the usual training loop."""

    def __init__(self, lr: float = 0.01, momentum: float = 0.0) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Linear(4, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=lr, momentum=momentum)

    def backward(self, factor: float = 1.0) -> torch.Tensor:
        """Compute loss and gradients of a batch."""
        self.optimizer.zero_grad()
        loss = factor * (self.model(torch.ones(8, 4)) - 1).square().mean()
        loss.backward()
        return loss

    def step(self) -> None:
        """Make one iteration without a scheduler."""
        self.backward()
        self.optimizer.step()

    def run(self, steps: int, after: After = lambda step: None) -> None:
        """Make `steps` steps."""
        for step in range(steps):
            self.step()
            after(step)


@pytest.fixture
def training() -> type[Training]:
    """A training for loops that set the rate themselves."""
    return Training


@pytest.fixture
def track(clean_place: Path) -> Iterator[Callable[..., Any]]:
    """`lrtrack.track` into the journal, without the lines on stderr."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LR0", lrtrack.LRTrackWarning)
        yield lambda *args, **options: lrtrack.track(*args, tracker="local", **options)


@pytest.fixture
def histories(clean_place: Path) -> Callable[[], list[History]]:
    """All runs, oldest first."""
    return lambda: list(LocalTracker().histories(Query(directory=clean_place / ".lrtrack")))[::-1]


@pytest.fixture
def messages(histories: Callable[[], list[History]]) -> Callable[[], dict[str, str]]:
    """The messages of the only run's diagnoses, by code."""

    def read() -> dict[str, str]:
        (history,) = histories()
        assert history.run.diagnoses is not None
        return {diagnosis["code"]: diagnosis["message"] for diagnosis in diagnoses_of(history)}

    return read
