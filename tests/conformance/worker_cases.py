"""DataLoader workers that start, work and end while a block is open."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .cases import add, case
from .tasks import Task
from .truth import Truth


def batches(task: Task) -> TensorDataset:
    """Two batches of eight rows, passed to workers unchanged."""
    return TensorDataset(*task.batch())


def epochs(truth: Truth, task: Task, loader: Any) -> None:
    """Three epochs whose workers start anew within the block."""
    optimizer = SGD(task.model.parameters(), lr=0.1)
    scheduler = StepLR(optimizer, 1, gamma=0.5)
    with truth.track(optimizer, scheduler), warnings.catch_warnings():
        # since Python 3.12: lrtrack's journal has a thread, as has torch
        warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
        for _ in range(3):
            for inputs, targets in loader:
                optimizer.zero_grad()
                loss = (task.model(inputs) - targets).square().mean()
                loss.backward()
                truth.step(optimizer, loss)
                optimizer.step()
            scheduler.step()


def workers(method: str, persistent: bool, truth: Truth) -> None:
    """Two workers, for each method of starting them."""
    task = Task()
    loader = DataLoader(
        batches(task),
        batch_size=8,
        num_workers=2,
        multiprocessing_context=method,
        persistent_workers=persistent,
    )
    epochs(truth, task, loader)


add("DataLoader workers by fork", partial(workers, "fork", False))
add("DataLoader workers by fork, kept", partial(workers, "fork", True))
add("DataLoader workers by spawn", partial(workers, "spawn", True))


class Learned(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """A dataset that trains in the worker, even with the tracked optimizer."""

    def __init__(self, task: Task, optimizer: torch.optim.Optimizer) -> None:
        self._rows = batches(task)
        self._optimizer = optimizer

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        weight = torch.nn.Parameter(torch.ones(2))
        weight.square().sum().backward()
        self._optimizer.step()
        inputs, targets = self._rows[index]
        return inputs, targets


@case("DataLoader workers that train, too")
def training_workers(truth: Truth) -> None:
    """Steps of a forked copy of the training do not belong to the run."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    loader = DataLoader(
        Learned(task, optimizer), batch_size=4, num_workers=2, multiprocessing_context="fork"
    )
    with truth.track(optimizer), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = (task.model(inputs) - targets).square().mean()
            loss.backward()
            truth.step(optimizer, loss)
            optimizer.step()
