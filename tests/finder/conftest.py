"""A small training that changes weights, buffers, modes and random states."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from lrtrack.records import History
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker


class Network(torch.nn.Module):
    """Two layers with batch norm and dropout, and attributes that users add to modules."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.Dropout(0.2)
        )
        self.head = torch.nn.Linear(16, 3)
        self.calls = 0
        self.seen: list[float] = []
        self.memory = torch.zeros(16)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns scores of shape (n, 3)."""
        self.calls += 1
        hidden = self.layers(inputs)
        self.seen.append(hidden.sum().item())
        self.memory = 0.9 * self.memory + hidden.detach().mean(dim=0)
        return self.head(hidden + self.memory)


class Training:
    """One network, one optimizer, one schedule; `step()` is the function for `find_lr`."""

    def __init__(self, make: Callable[[Any], Any] | None = None, before: int = 3) -> None:
        random.seed(1)
        np.random.seed(2)
        torch.manual_seed(3)
        self.model = Network()
        make = make or (lambda parameters: torch.optim.Adam(parameters, lr=0.01))
        self.optimizer = make(self.model.parameters())
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 2, gamma=0.5)
        self.inputs, self.labels = torch.randn(64, 8), torch.randint(0, 3, (64,))
        self.losses: list[float] = []
        self.train(before)

    def step(self) -> torch.Tensor:
        """Runs forward and backward on a random batch, with noise from all three libraries."""
        batch = torch.randint(0, 64, (16,))
        noise = random.random() + float(np.random.rand())
        loss = cross_entropy(self.model(self.inputs[batch] + noise), self.labels[batch])
        loss.backward()
        return loss

    def train(self, steps: int) -> None:
        """Trains in a normal loop."""
        for _ in range(steps):
            self.optimizer.zero_grad()
            self.losses.append(self.step().item())
            self.optimizer.step()
            self.scheduler.step()

    def state(self) -> dict[str, Any]:
        """Copies everything that training has changed."""
        found = {
            "model": self.model.state_dict(),
            "modes": [module.training for module in self.model.modules()],
            "own": (self.model.calls, self.model.seen, self.model.memory),
            "gradients": [parameter.grad for parameter in self.model.parameters()],
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "random": (random.getstate(), np.random.get_state(), torch.get_rng_state()),
        }
        return copied(found)


def copied(value: Any) -> Any:
    """Copies a nested state, tensors by content."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {key: copied(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [copied(inner) for inner in value]
    return value


def same(left: Any, right: Any) -> bool:
    """Checks nested states for bit-equality."""
    if isinstance(left, torch.Tensor):
        left, right = left.detach().numpy(), right.detach().numpy()
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and left.tobytes() == right.tobytes()
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


@pytest.fixture
def new_training() -> type[Training]:
    """Returns a function that makes equal trainings."""
    return Training


@pytest.fixture
def training() -> Training:
    """Returns a training after three steps."""
    return Training()


@pytest.fixture
def equal() -> Callable[[Any, Any], bool]:
    """Returns `same`, for tests in other files."""
    return same


@pytest.fixture
def local(clean_place: Path) -> Callable[[], list[History]]:
    """Reads all runs in the journals of the working directory, newest first."""
    return lambda: list(LocalTracker().histories(Query(directory=clean_place / ".lrtrack")))
