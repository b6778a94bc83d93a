"""Small seeded problems to train on; each loss belongs to a new batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .cases import STEPS
from .truth import Truth

Loss = Callable[[], torch.Tensor]


class Task:
    """A regression with a network of two layers.

    Args:
        bias: whether the layers have biases (Muon takes matrices only).
        one_batch: whether every loss uses the same batch (a line search needs that).
        dtype: of the parameters.
    """

    def __init__(
        self, bias: bool = True, one_batch: bool = False, dtype: torch.dtype = torch.float32
    ) -> None:
        self.model: Any = torch.nn.Sequential(
            torch.nn.Linear(4, 8, bias=bias), torch.nn.Tanh(), torch.nn.Linear(8, 1, bias=bias)
        ).to(dtype)
        self._dtype = dtype
        self._one_batch = one_batch
        self._random = torch.Generator().manual_seed(7)

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns inputs and targets."""
        if self._one_batch:
            self._random.manual_seed(7)
        inputs = torch.randn(16, 4, generator=self._random)
        return inputs.to(self._dtype), torch.randn(16, 1, generator=self._random)

    def loss(self, model: Callable[..., torch.Tensor] | None = None) -> torch.Tensor:
        """Returns the loss of the next batch, of this model or another."""
        inputs, targets = self.batch()
        outputs = self.model(inputs) if model is None else model(inputs)
        return torch.nn.functional.mse_loss(outputs.float(), targets)


class ComplexTask(Task):
    """A complex weight that learns to rotate its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.model = torch.nn.ParameterList([torch.randn(4, 3, dtype=torch.complex64)])

    def loss(self, model: Any = None) -> torch.Tensor:
        """Returns a real loss of complex numbers."""
        inputs, _ = self.batch()
        found = inputs.to(torch.complex64) @ self.model[0]
        return (found - 1j).abs().square().mean()


class SparseTask(Task):
    """An embedding with sparse gradients, whose batches repeat indices."""

    def __init__(self) -> None:
        super().__init__()
        self.model = torch.nn.Embedding(10, 3, sparse=True)

    def loss(self, model: Any = None) -> torch.Tensor:
        """Returns the loss of eight rows of ten, some of them equal."""
        rows = torch.randint(0, 10, (8,), generator=self._random)
        rows[1] = rows[0]
        return (self.model(rows) - 1).square().mean()


def layers(task: Task) -> list[list[torch.nn.Parameter]]:
    """Returns the parameters by layer."""
    return [list(task.model[0].parameters()), list(task.model[2].parameters())]


def train(
    truth: Truth, optimizer: Any, loss: Loss, after: Callable[[int], Any] = lambda step: None
) -> None:
    """The usual loop; calls `after` with the number of each step."""
    for step in range(STEPS):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        truth.step(optimizer, value)
        optimizer.step()
        after(step)


def train_by_closure(truth: Truth, optimizer: Any, loss: Loss) -> int:
    """The loop of an optimizer that evaluates a closure; returns the number of evaluations.

    The expected values are those of a step's first evaluation: before it the gradients do not
    exist,
    and later ones belong to points that the optimizer tries out.
    """
    evaluations = 0

    def closure() -> torch.Tensor:
        nonlocal evaluations, first
        optimizer.zero_grad()
        value = loss()
        value.backward()
        evaluations += 1
        if first:
            truth.step(optimizer, value)
            first = False
        return value

    for _ in range(STEPS):
        first = True
        optimizer.step(closure)
    return evaluations
