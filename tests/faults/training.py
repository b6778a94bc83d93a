"""The same small training as `trainer.py`, in the process of the test."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

import lrtrack

from .trainer import EXPERIMENT, loss

#: How far a busy machine may exceed a promised time. Waiting for a tracker takes longer
#: still: a single request may take two minutes.
SLACK = 60.0


def train(
    steps: int,
    pause: float = 0.0,
    at: Mapping[int, Callable[[], Any]] | None = None,
    **options: Any,
) -> float:
    """Tracks `steps` steps and runs `at` after some; returns the seconds that the end of the block
    took.
    """
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    with lrtrack.track(optimizer, **{"experiment": EXPERIMENT, "seed": 0, **options}):
        for step in range(steps):
            optimizer.zero_grad()
            (weight * 0.0 + loss(step)).backward()
            optimizer.step()
            time.sleep(pause)
            if at is not None and step in at:
                at[step]()
        over = time.monotonic()
    return time.monotonic() - over
