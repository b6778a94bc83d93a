"""Measures the cost per step on the training thread; prints microseconds: `thread.py ROUNDS`."""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import norm_passes
import processes
from results import Row

STEPS = 30_000


def measure(rounds: int, _: int) -> list[Row]:
    """Returns the row."""
    with processes.place() as folder:
        told = (Path(__file__), rounds)
        found = processes.python(*told, folder=folder, LRTRACK_TRACKER="local").found
    took = found["microseconds"]
    note = (
        f"hooks, record and journal; processor time of loops of {STEPS:,} steps and one "
        "parameter, in turn with and without"
    )
    return [
        Row("cost on the training thread without norm", f"{took:.1f} µs a step", "≤ 10 µs",
            took <= 10.0, note),
        Row("the same with the norm of one gradient", f"{found['norm']:.1f} µs a step"),
        Row("and with `norms_every=10`", f"{found['some']:.1f} µs a step"),
        Row("and with `updates=100`", f"{found['updates']:.1f} µs a step"),
        Row("and with `updates=1`", f"{found['each']:.1f} µs a step"),
        *norm_passes.measure(),
    ]  # fmt: skip


def main(rounds: int) -> dict[str, float]:
    """Returns medians over rounds of the differences between tracked loops and a bare one."""
    import torch

    import lrtrack

    torch.set_num_threads(1)
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10**9)

    def loop() -> float:
        begun = time.thread_time()
        for _ in range(STEPS):
            optimizer.zero_grad()
            (weight * 2.0).backward()
            optimizer.step()
            scheduler.step()
        return (time.thread_time() - begun) / STEPS * 1e6

    def tracked(options: dict[str, Any]) -> float:
        with lrtrack.track(optimizer, scheduler, flush_timeout=0, **options):
            return loop()

    loop()
    ways: dict[str, dict[str, Any]] = {
        "microseconds": {"norms": "off"},
        "norm": {},
        "some": {"norms_every": 10},
        "updates": {"updates": 100},
        "each": {"updates": 1},
    }
    extra: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        bare = loop()
        for name, way in ways.items():
            extra[name].append(tracked(way) - bare)
    return {name: statistics.median(values) for name, values in extra.items()}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
