"""A small seeded training, the same in every test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lrtrack.records import History
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker


class Training:
    """A linear model on fixed data; `step()` is one normal iteration of a training loop."""

    def __init__(self, steps: int = 20, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Linear(16, 3))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 5, gamma=0.5)
        self.inputs, self.labels = torch.randn(32, 8), torch.randint(0, 3, (32,))
        self.steps = steps
        self.truth: list[dict[str, float]] = []

    def step(self) -> float:
        """Trains one step and notes its learning rate, gradient norm and loss."""
        self.optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(self.model(self.inputs), self.labels)
        loss.backward()
        gradients = [p.grad.double().flatten() for p in self.model.parameters()]
        self.truth.append(
            {
                "lr": self.optimizer.param_groups[0]["lr"],
                "loss": loss.item(),
                "grad_norm": torch.cat(gradients).norm().item(),
            }
        )
        self.optimizer.step()
        self.scheduler.step()
        return loss.item()

    def run(self) -> Training:
        """Trains all steps."""
        for _ in range(self.steps):
            self.step()
        return self

    def state(self) -> dict[str, Any]:
        """Returns everything that training has changed."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "rng": torch.get_rng_state(),
        }


@pytest.fixture
def training() -> Training:
    """Returns a fresh training."""
    return Training()


@pytest.fixture
def new_training() -> type[Training]:
    """Returns a function that makes trainings, for tests that need several."""
    return Training


@pytest.fixture
def local(clean_place: Path) -> Callable[[], list[History]]:
    """Reads all runs in the journals of the working directory, newest first."""
    return lambda: list(LocalTracker().histories(Query(directory=clean_place / ".lrtrack")))
