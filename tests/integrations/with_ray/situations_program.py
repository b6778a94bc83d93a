"""Twelve steps down a parabola, which note what they used, for `test_situations.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from ray import tune

import lrtrack
from lrtrack.integrations.ray import report, track


class Weight(torch.nn.Module):
    """One number, whose square is the loss."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.full((), value))


def note(place: Path, step: int, opt: torch.optim.Optimizer, value: torch.nn.Parameter) -> None:
    """Adds what this step is about to use to the trial's file."""
    assert value.grad is not None
    line = {
        "step": step,
        "lr": opt.param_groups[0]["lr"],
        "loss": value.square().item(),
        "grad_norm": abs(value.grad.item()),
    }
    with (place / f"{tune.get_context().get_trial_name()}.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def train(config: dict[str, Any]) -> None:
    """Trains twelve steps, or without end if `total_steps` is known."""
    place = Path(config["place"])
    weight = Weight(1.0 + config["seed"])
    opt = torch.optim.SGD(weight.parameters(), lr=0.1)
    sched = lrtrack.scheduler(opt, "cosine", total_steps=12)
    checkpoint = {"opt": opt, "sched": sched, "model": weight} if config["keep"] else None
    total = config["total_steps"]
    with track(opt, sched, checkpoint=checkpoint, total_steps=total) as run:
        for step in range(run.step + 1, 12 if total is None else 1000):
            opt.zero_grad()
            weight.value.square().backward()
            note(place, step, opt, weight.value)
            opt.step()
            sched.step()
            report(run, every=4)
            if step == 8 and config["stumble"] and not (place / "stumbled").exists():
                (place / "stumbled").touch()
                raise RuntimeError("stumbled")
