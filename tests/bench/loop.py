"""A training loop with one way of logging, in its own process; prints its times as JSON.

    python loop.py WAY STEPS MILLISECONDS

WAY is one of `WAYS`, or of `frameworks.WAYS`. All but `bare` and `norm` log learning rate,
gradient norm and loss at each step. The working directory holds the MLflow store, unless
MLFLOW_TRACKING_URI names another.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch

#: Hidden width and batch size that make a step take about this many ms on one 2020s core.
SIZES = {1: (192, 256), 10: (640, 640), 100: (1280, 1536)}

WAYS = {
    "bare": "the bare loop",
    "norm": "the gradient norm alone, looked at by nobody",
    "lrtrack": "lrtrack, into MLflow on SQLite",
    "lrtrack-server": "lrtrack, into `mlflow server` on SQLite",
    "lrtrack-down": "lrtrack, into an `mlflow server` that is down all the time",
    "lrtrack-nonorm": 'lrtrack with `norms="off"`, into MLflow on SQLite',
    "lrtrack-norms-every": "lrtrack with `norms_every=10`, into MLflow on SQLite",
    "lrtrack-updates": "lrtrack with `updates=100`, into MLflow on SQLite",
    "lrtrack-updates-each": "lrtrack with `updates=1`, into MLflow on SQLite",
    "lrtrack-wandb": "lrtrack, into a W&B run of its own, offline",
    "lrtrack-joined": "lrtrack, into the user's open W&B run, offline",
    "mlflow": "`mlflow.log_metrics` each step",
    "mlflow-async": "`mlflow.log_metrics(synchronous=False)` each step",
    "wandb": "`wandb.log` each step, offline",
    "wandb-watch": "`wandb.watch(log_freq=1)` and `wandb.log` each step, offline",
}

Log = Callable[[int, dict[str, float]], None]


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


def peer(way: str, stack: ExitStack, task: Task) -> Log:
    """Logs by hand with `way`, as a user would."""
    if way in ("mlflow", "mlflow-async"):
        import mlflow

        mlflow.set_experiment("bench")
        stack.enter_context(mlflow.start_run())
        return lambda step, found: mlflow.log_metrics(found, step=step, synchronous=way == "mlflow")
    import wandb

    run = stack.enter_context(wandb.init(mode="offline", project="bench"))
    if way == "wandb-watch":
        run.watch(task.model, log="gradients", log_freq=1)
    return lambda step, found: run.log(found)


def tracked(way: str, stack: ExitStack, task: Task) -> None:
    """Opens lrtrack's block, inside the user's own run if `way` asks for it."""
    import lrtrack

    updates = {"lrtrack-updates": 100, "lrtrack-updates-each": 1}
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
        updates=updates.get(way),
        norms_every=10 if way == "lrtrack-norms-every" else None,
    )
    stack.enter_context(block)


def main(way: str, steps: int, milliseconds: int) -> dict[str, Any]:
    """Runs the loop.

    Returns:
        Seconds of the loop, and of the time until everything is stored; median and 99.9th
        percentile
        of a single step, in seconds.
    """
    task = Task(steps, milliseconds)
    for _ in range(20):  # Warm up without touching the optimizer.
        task.loss()
    ends = np.empty(steps + 1)
    with ExitStack() as stack:
        log: Log | None = None
        if way.startswith("lrtrack"):
            tracked(way, stack, task)
        elif way not in ("bare", "norm"):
            log = peer(way, stack, task)
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
    took = np.diff(ends)
    return {
        "loop": float(ends[-1] - ends[0]),
        "after": float(after),
        "median": float(np.median(took)),
        "p999": float(np.quantile(took, 0.999)),
    }


if __name__ == "__main__":
    arguments = (sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    if arguments[0] in WAYS:
        print(json.dumps(main(*arguments)))
    else:
        import frameworks

        print(json.dumps(frameworks.main(*arguments)))
