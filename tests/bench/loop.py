"""A training loop with one way of logging, in its own process; prints its times as JSON.

    python loop.py WAY STEPS MILLISECONDS

WAY is one of `ways.WAYS`, or of a framework in `frameworks.py`. All but `bare` and `norm` log
learning rate, gradient norm and loss at each step. The working directory holds the MLflow store,
unless MLFLOW_TRACKING_URI names another.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from typing import Any

import by_hand
import numpy as np
import torch
from ways import BY_HAND, WAYS

#: Hidden width and batch size that make a step take about this many ms on one 2020s core.
SIZES = {1: (192, 256), 10: (640, 640), 100: (1280, 1536)}


class Task:
    """A small network with its optimizer, schedule and training data."""

    def __init__(self, steps: int, milliseconds: int) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        width, batch = SIZES[milliseconds]
        self.model = torch.nn.Sequential(
            torch.nn.Linear(64, width),
            torch.nn.ReLU(),
            torch.nn.Linear(width, width),
            torch.nn.ReLU(),
            torch.nn.Linear(width, 10),
        )
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps)
        self.inputs, self.labels = torch.randn(batch, 64), torch.randint(0, 10, (batch,))

    def loss(self) -> torch.Tensor:
        """Runs forward and backward once and leaves the gradients in place."""
        self.optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(self.model(self.inputs), self.labels)
        loss.backward()
        return loss

    def norm(self) -> torch.Tensor:
        """Returns the L2 norm of all gradients, computed by torch's own function."""
        found = [p.grad for p in self.model.parameters() if p.grad is not None]
        return torch.nn.utils.get_total_norm(found)


def tracked(way: str, stack: ExitStack, task: Task) -> None:
    """Opens lrtrack's block, inside the user's own run if `way` asks for it."""
    import lrtrack

    if way == "lrtrack-joined":
        import wandb

        stack.enter_context(wandb.init(mode="offline", project="bench"))
        wandb.log({"begun": 1})
    block = lrtrack.track(
        task.optimizer,
        task.scheduler,
        tracker="wandb" if way == "lrtrack-wandb" else None,
        experiment="bench",
        norms="off" if way.endswith("nonorm") else "global",
        flush_timeout=0 if way == "lrtrack-down" else 120,
        updates=100 if way == "lrtrack-updates" else None,
        norms_every=10 if way == "lrtrack-norms-every" else None,
    )
    stack.enter_context(block)


def main(way: str, steps: int, milliseconds: int) -> dict[str, Any]:
    """Runs the loop.

    Returns:
        Seconds of the loop, and of the time until everything is stored; median and 99.9th
        percentile of a single step, in seconds.
    """
    task = Task(steps, milliseconds)
    for _ in range(20):  # Warm up without touching the optimizer.
        task.loss()
    ends = np.empty(steps + 1)
    tried: list[str] = []
    by_hand.refuse_the_network(tried)  # In each way, because looking costs a little time.
    with ExitStack() as stack:
        log: by_hand.Log | None = None
        if way.startswith("lrtrack"):
            tracked(way, stack, task)
        elif way in BY_HAND:
            log = by_hand.start(way, stack, task.model)
        ends[0] = time.perf_counter()
        for step in range(steps):
            loss = task.loss()
            if way == "norm":
                task.norm()
            if log is not None:
                rate = task.scheduler.get_last_lr()[0]
                found = {"lr": rate, "grad_norm": task.norm().item(), "loss": loss.item()}
                log(step, found)
            task.optimizer.step()
            task.scheduler.step()
            ends[step + 1] = time.perf_counter()
    after = time.perf_counter() - ends[-1]
    if tried:
        raise SystemExit(f"{way} has asked for {', '.join(sorted(set(tried)))}")
    took = np.diff(ends)
    return {
        "loop": float(ends[-1] - ends[0]),
        "after": float(after),
        "median": float(np.median(took)),
        "p999": float(np.quantile(took, 0.999)),
    }


def run(way: str, steps: int, milliseconds: int) -> dict[str, Any]:
    """Runs the loop of a way, or of a framework; returns what `main` returns of it."""
    if way in WAYS:
        return main(way, steps, milliseconds)
    import frameworks

    return frameworks.main(way, steps, milliseconds)


def import_lazily_loaded() -> None:
    """Imports what torch loads when it is first used, without starting a thread."""
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1)
    optimizer.zero_grad()
    optimizer.step()
    scheduler.step()


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
