"""Observes several optimizers, and a pair of them with known gradients."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim import SGD, Adam

from lrtrack.capture.ensemble import ensemble_of
from lrtrack.capture.rounds import Rounds
from lrtrack.capture.step_capture import StepCapture


class Records:
    """The records of rounds, with later changes applied."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}
        self.written: list[int] = []
        self.rounds: Rounds

    def on_step(self, step: int, when: float, metrics: dict[str, Any]) -> None:
        """Store a record."""
        self.written.append(step)
        self.rows[step] = metrics

    def on_change(self, step: int, when: float, metrics: dict[str, Any]) -> None:
        """Change a record."""
        self.rows[step] |= metrics

    def column(self, name: str) -> list[Any]:
        """Return one metric at all rounds, None where a round lacks it."""
        return [self.rows[step].get(name) for step in sorted(self.rows)]


@contextmanager
def watched(optimizers: Any, schedulers: Any = None, **options: Any) -> Iterator[Records]:
    """Observe several optimizers inside the block; the clock counts steps from 0.0."""
    records, ticks = Records(), itertools.count()
    rounds = records.rounds = Rounds(
        ensemble_of(optimizers, schedulers), clock=lambda: float(next(ticks)), **options
    )
    rounds.on_step, rounds.on_change = records.on_step, records.on_change
    rounds.on_user = records.on_change
    rounds.attach()
    try:
        yield records
    finally:
        rounds.detach()


class Pair:
    """Two parameters with an optimizer each; `loss(a, b)` has the gradients `a` and `b`."""

    def __init__(self) -> None:
        self.one = torch.nn.Parameter(torch.zeros(()))
        self.two = torch.nn.Parameter(torch.zeros(()))
        self.muon = SGD([self.one], lr=0.5)
        self.adamw = Adam([self.two], lr=0.25)
        self.both = {"muon": self.muon, "adamw": self.adamw}

    def loss(self, value: float, one: float = 0.0, two: float = 0.0) -> torch.Tensor:
        """Return a loss of this value, whose gradients are `one` and `two`."""
        self.one.grad = self.two.grad = None
        return value + one * (self.one - self.one.detach()) + two * (self.two - self.two.detach())


@contextmanager
def watched_alone(optimizer: Any) -> Iterator[None]:
    """Observe one optimizer by itself."""
    capture = StepCapture(optimizer)
    capture.attach()
    try:
        yield
    finally:
        capture.detach()
