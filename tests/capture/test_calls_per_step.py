"""How many Python functions run at each step: on the training thread, each costs about 0.3 µs."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch.nn.utils import clip_grad_norm_

import lrtrack

STEPS = 50


def python_calls(loop: Callable[[], None]) -> Counter[str]:
    """Return how often this thread enters each Python function while `loop` runs."""
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            calls[f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}"] += 1

    sys.setprofile(note)
    try:
        loop()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize(
    ("options", "clips", "most"),
    [
        ({"norms": "off"}, False, 6),
        ({"norms_every": STEPS}, False, 7),
        ({}, False, 8),
        ({}, True, 28),
    ],
    ids=["without norms", "norms at few steps", "with norms", "with clipping"],
)
def test_calls_that_a_step_costs(
    clean_place: Path, options: dict[str, Any], clips: bool, most: int
) -> None:
    """A step of a tracked loop enters few Python functions more than one of the same bare loop."""
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1000)

    def loop() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad()
            weight.sum().backward()
            if clips:
                clip_grad_norm_([weight], 1.0)
            optimizer.step()
            scheduler.step()

    bare = python_calls(loop)
    with lrtrack.track(optimizer, scheduler, tracker="local", **options):
        loop()  # the first steps find out more
        tracked = python_calls(loop)

    extra = Counter({name: round(count / STEPS) for name, count in (tracked - bare).items()})
    assert sum((tracked - bare).values()) <= most * STEPS + STEPS // 10, +extra
