"""Optimizers inside another one, and optimizers that step in different threads, as rounds."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

from .rounds import Pair, watched


@pytest.fixture
def pair() -> Pair:
    """Two optimizers."""
    return Pair()


class Container(torch.optim.Optimizer):
    """Steps some of its optimizers inside its own step."""

    def __init__(self, optimizers: list[torch.optim.Optimizer]) -> None:
        self.optimizers = optimizers
        super().__init__([p for o in optimizers for g in o.param_groups for p in g["params"]], {})
        self.wanted = [0, 1]

    def step(self, closure: Any = None) -> None:
        """Step those that are wanted."""
        for at in self.wanted:
            self.optimizers[at].step()


def test_one_step_of_a_container_is_one_round(pair) -> None:
    """A container's next step begins a round, even if it steps other optimizers than before."""
    container = Container([pair.muon, pair.adamw])
    with watched(container) as records:
        for wanted in ([0], [1], [0, 1]):
            container.wanted = wanted
            pair.loss(1.0, 1.0, 1.0).backward()
            container.step()

    assert records.column("lr/SGD") == [0.5, None, 0.5]
    assert records.column("lr/Adam") == [None, 0.25, 0.25]
    assert not container._optimizer_step_pre_hooks


def test_steps_in_two_threads_are_counted_once(pair) -> None:
    """Optimizers that step in different threads share the rounds without losing one."""
    barrier = threading.Barrier(2)

    def train(optimizer: torch.optim.Optimizer, parameter: torch.nn.Parameter) -> None:
        for _ in range(20):
            (parameter * 1.0).backward()
            barrier.wait(300)
            optimizer.step()
            barrier.wait(300)

    with watched(pair.both) as records:
        threads = [
            threading.Thread(target=train, args=job)
            for job in ((pair.muon, pair.one), (pair.adamw, pair.two))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)

    assert len(records.rows) == 20
    assert records.column("lr/adamw") == [0.25] * 20
