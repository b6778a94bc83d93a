"""One training loop under one way of logging, in a process of its own; prints its times as JSON.

    python loop.py WAY STEPS MILLISECONDS

WAY: bare, lrtrack, lrtrack-nonorm, lrtrack-away (nobody waits for delivery), lrtrack-wandb (a run
of lrtrack's own, offline), lrtrack-joined (the user's run, offline), mlflow, mlflow-async, wandb.
All but bare log learning rate, gradient norm and loss at each step. The working directory holds
the MLflow store.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch

#: Hidden width and batch that make one step take about so many milliseconds on one 2020s core.
SIZES = {1: (192, 256), 10: (640, 640), 100: (1280, 1536)}

Log = Callable[[int, dict[str, float]], None]


def peer(way: str, stack: ExitStack) -> Log:
    """How a user logs by hand with `way`."""
    if way in ("mlflow", "mlflow-async"):
        import mlflow

        mlflow.set_experiment("bench")
        stack.enter_context(mlflow.start_run())
        return lambda step, found: mlflow.log_metrics(found, step=step, synchronous=way == "mlflow")
    import wandb

    run = stack.enter_context(wandb.init(mode="offline", project="bench"))
    return lambda step, found: run.log(found)


def main(way: str, steps: int, milliseconds: int) -> dict[str, Any]:
    """Run the loop; times in seconds."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    width, batch = SIZES[milliseconds]
    model = torch.nn.Sequential(
        torch.nn.Linear(64, width),
        torch.nn.ReLU(),
        torch.nn.Linear(width, width),
        torch.nn.ReLU(),
        torch.nn.Linear(width, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    inputs, labels = torch.randn(batch, 64), torch.randint(0, 10, (batch,))

    def one() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        return loss

    for _ in range(20):  # warm up without touching the optimizer
        one()
    with ExitStack() as stack:
        log: Log | None = None
        if way.startswith("lrtrack"):
            import lrtrack

            if way == "lrtrack-joined":
                import wandb

                stack.enter_context(wandb.init(mode="offline", project="bench"))
                wandb.log({"begun": 1})
            norms = "off" if way.endswith("nonorm") else "global"
            block = lrtrack.track(
                optimizer,
                scheduler,
                tracker="wandb" if way == "lrtrack-wandb" else None,
                experiment="bench",
                norms=norms,
                flush_timeout=0 if way == "lrtrack-away" else 120,
            )
            stack.enter_context(block)
        elif way != "bare":
            log = peer(way, stack)
        begun = time.perf_counter()
        for step in range(steps):
            loss = one()
            if log is not None:
                gradients = [p.grad for p in model.parameters() if p.grad is not None]
                norm = torch.nn.utils.get_total_norm(gradients)
                rate = scheduler.get_last_lr()[0]
                log(step, {"lr": rate, "grad_norm": norm.item(), "loss": loss.item()})
            optimizer.step()
            scheduler.step()
        looped = time.perf_counter()
    return {"loop": looped - begun, "after": time.perf_counter() - looped}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
