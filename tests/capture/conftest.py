"""Fixtures that observe training loops, and the true values to compare with."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from lrtrack.capture.step_capture import StepCapture


class Recording:
    """The records of a capture."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.times: list[float] = []
        self.metrics: list[dict[str, Any]] = []
        self.plateau: list[float] = []
        self.capture: StepCapture

    def on_step(self, step: int, when: float, metrics: dict[str, Any]) -> None:
        """Store a record."""
        self.steps.append(step)
        self.times.append(when)
        self.metrics.append(metrics)

    def column(self, name: str) -> list[Any]:
        """Return one metric at all recorded steps, None where a step lacks it."""
        return [metrics.get(name) for metrics in self.metrics]


@contextmanager
def watched(optimizer: Any, scheduler: Any = None, **options: Any) -> Iterator[Recording]:
    """Observe an optimizer inside the block; the clock counts steps from 0.0."""
    recording, ticks = Recording(), itertools.count()
    options.setdefault("on_step", recording.on_step)
    recording.capture = StepCapture(
        optimizer,
        scheduler,
        on_plateau=recording.plateau.append,
        clock=lambda: float(next(ticks)),
        **options,
    )
    recording.capture.attach()
    try:
        yield recording
    finally:
        recording.capture.detach()


def true_norm(parameters: Iterable[torch.Tensor]) -> float:
    """Return the L2 norm over all gradients, in double precision."""
    grads = [p.grad.detach() for p in parameters if p.grad is not None]
    whole = [g.to_dense() if g.layout is not torch.strided else g for g in grads]
    wide = [torch.view_as_real(g) if g.is_complex() else g for g in whole]
    return float(torch.cat([g.double().flatten() for g in wide]).norm())


@pytest.fixture
def watch() -> Callable[..., Any]:
    """A context manager that observes an optimizer and yields its records."""
    return watched


@pytest.fixture
def norm_of() -> Callable[[Iterable[torch.Tensor]], float]:
    """A function that returns the true norm over the gradients of some parameters."""
    return true_norm


@pytest.fixture
def make() -> Callable[..., Any]:
    """A function that builds a seeded two-layer model and its loss, always the same."""

    def build(seed: int = 0) -> tuple[torch.nn.Module, Callable[[], torch.Tensor]]:
        torch.manual_seed(seed)
        model = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1)
        )
        inputs, targets = torch.randn(16, 4), torch.randn(16, 1)
        return model, lambda: torch.nn.functional.mse_loss(model(inputs), targets)

    return build
