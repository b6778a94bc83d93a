"""Twelve steps down a parabola, for the sweeps of `test_ray.py`; can fail once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import lrtrack
from lrtrack.integrations.ray import report, track


class Weight(torch.nn.Module):
    """One number, whose square is the loss."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.full((), value))


def train(config: dict[str, Any]) -> None:
    """Trains; every schedule and seed has losses of its own."""
    weight = Weight(1.0 + config["seed"])
    opt = torch.optim.SGD(weight.parameters(), lr=0.1)
    sched = lrtrack.scheduler(opt, config, total_steps=12)
    checkpoint = {"opt": opt, "sched": sched, "model": weight} if config.get("keep") else None
    with track(opt, sched, checkpoint=checkpoint) as run:
        for step in range(run.step + 1, 12):
            opt.zero_grad()
            weight.value.square().backward()
            opt.step()
            sched.step()
            if step == 11:
                run.log(val_loss=weight.value.item())
            report(run, every=4)
            if step == 8 and config.get("stumble") and not Path(config["stumble"]).exists():
                Path(config["stumble"]).touch()
                raise RuntimeError("stumbled")
