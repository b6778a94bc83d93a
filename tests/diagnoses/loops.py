"""Training loops on handwritten digits, and the diagnoses that their records show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

import lrtrack
from lrtrack.records import Run, State
from lrtrack.schedules import Schedule
from lrtrack.stats.diagnose import Observations, RunningStatistics, diagnose

#: Rows of a batch that reaches the statistics, as the journal's thread passes them on.
ROWS = 37
#: The codes of the rules on what the records show of settings, gradients, losses and times.
CODES = frozenset(f"LR{number:03}" for number in range(14, 26))


@dataclass
class Records:
    """What a loop leaves: metrics by name, each a list of one number a step."""

    metrics: dict[str, list[float]] = field(default_factory=dict)
    schedule: Schedule = field(default_factory=lambda: Schedule("constant"))
    observations: Observations | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""

    def add(self, **metrics: float) -> None:
        """Add a step."""
        for name, value in metrics.items():
            self.metrics.setdefault(name, []).append(value)


def statistics_of(records: Records, times: np.ndarray | None = None) -> RunningStatistics:
    """The statistics of a loop's records, added in batches."""
    statistics = RunningStatistics(records.schedule, records.prefix)
    columns = {
        records.prefix + name: np.array(values, dtype=np.float64)
        for name, values in records.metrics.items()
    }
    size = max(map(len, columns.values()))
    for start in range(0, size, ROWS):
        rows = slice(start, start + ROWS)
        batch = {name: (values[rows], None) for name, values in columns.items()}
        own = None if times is None else times[rows]
        statistics.add(np.arange(size)[rows], batch, own)
    return statistics


def messages_of(
    records: Records, state: State = State.FINISHED, times: np.ndarray | None = None
) -> dict[str, str]:
    """The messages of the diagnoses of a loop's records, by code, of the codes in `CODES`."""
    run = Run(
        "a" * 32,
        "run",
        schedule=records.schedule,
        config=records.config,
        optimizer=records.optimizer,
        prefix=records.prefix,
    )
    diagnoses = diagnose(run, statistics_of(records, times), state, records.observations)
    return {one["code"]: one["message"] for one in diagnoses if one["code"] in CODES}


@cache
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures, shape (1797, 64), between 0 and 1, and their classes, shape (1797,)."""
    data = load_digits()
    pictures = torch.tensor(data.data / 16.0, dtype=torch.float32)
    return pictures, torch.tensor(data.target)


def network(*sizes: int, activation: type[torch.nn.Module] = torch.nn.ReLU) -> torch.nn.Sequential:
    """A multi-layer perceptron of the digits, with hidden layers of some sizes."""
    widths = (64, *sizes)
    layers: list[torch.nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [torch.nn.Linear(inputs, outputs), activation()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(widths[-1], 10))


def train(
    optimizer_of: Callable[[Any], torch.optim.Optimizer],
    steps: int,
    *,
    model: torch.nn.Module | None = None,
    zeroes: bool = True,
    calls: int = 1,
    divisor: int = 1,
    layers: bool = False,
    loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
    scheduler_of: Callable[[torch.optim.Optimizer], Any] | None = None,
    **setup: Any,
) -> Records:
    """Train a network on the digits and note what lrtrack records.

    Args:
        optimizer_of: builds the optimizer of the parameters.
        model: the network; None: one hidden layer, seeded.
        zeroes: whether gradients are set to zero before each step.
        calls: `backward()` calls a step; `divisor`: what each loss is divided by.
        layers: whether norms are noted by parameter.
        loss_of: the loss of outputs and classes; None: the cross-entropy.
        scheduler_of: builds the scheduler of an optimizer, which is stepped after each step.
        setup: further attributes of the records.
    """
    torch.manual_seed(0)
    pictures, classes = digits()
    model = network(32) if model is None else model
    optimizer = optimizer_of(model.parameters())
    scheduler = scheduler_of(optimizer) if scheduler_of is not None else None
    records = Records(**setup)
    if scheduler is not None:
        records.schedule = lrtrack.describe(scheduler)
    loss_of = loss_of or torch.nn.functional.cross_entropy
    for _ in range(steps):
        if zeroes:
            optimizer.zero_grad()
        total = 0.0
        for _ in range(calls):
            rows = torch.randint(len(pictures), (32,))
            loss = loss_of(model(pictures[rows]), classes[rows]) / divisor
            loss.backward()
            total += float(loss.detach())
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients))
        counts = {"loss_count": float(calls)} if calls > 1 else {}
        records.add(lr=optimizer.param_groups[0]["lr"], loss=total, grad_norm=norm, **counts)
        if layers:
            records.add(
                **{
                    f"grad_norm/{name}": float(p.grad.norm())
                    for name, p in model.named_parameters()
                }
            )
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return records


def schedule(
    scheduler_of: Callable[[torch.optim.Optimizer], Any],
    steps: int,
    *,
    every: int = 1,
    lr: float = 0.1,
    other: bool = False,
) -> Records:
    """Step a scheduler and note the rates.

    Args:
        scheduler_of: builds it for an optimizer.
        every: it is stepped after each so many optimizer steps.
        lr: the optimizer's rate.
        other: whether the rates are those of another optimizer than the scheduler's.
    """
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr)
    tracked = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr) if other else optimizer
    scheduler = scheduler_of(optimizer)
    records = Records(schedule=lrtrack.describe(scheduler), optimizer={"lr": lr})
    used = moves = 0
    optimizer.step()  # a step before the first of the scheduler, as torch wants it
    for step in range(steps):
        used = scheduler.last_epoch
        records.add(lr=tracked.param_groups[0]["lr"])
        if (step + 1) % every == 0:
            scheduler.step()
            moves += step + 1 < steps
    records.observations = Observations(
        steps=steps,
        total=steps,
        begun=0,
        position=scheduler.last_epoch,
        used=used,
        moves=moves,
        given_rate=lr,
    )
    return records
