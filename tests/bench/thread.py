"""Measures the cost per step on the training thread; prints microseconds: `thread.py ROUNDS`."""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import processes
from results import Row

STEPS = 4000


def measure(rounds: int, _: int) -> list[Row]:
    """Returns the row."""
    with processes.place() as folder:
        told = (Path(__file__), 3 * rounds)
        found = processes.python(*told, folder=folder, LRTRACK_TRACKER="local").found
    took = found["microseconds"]
    note = "hooks, record and journal; a loop of one parameter with and without, in turn"
    return [
        Row("cost on the training thread without norm", f"{took:.1f} µs a step", "≤ 10 µs",
            took <= 10.0, note),
        Row("the same with the norm of one gradient", f"{found['norm']:.1f} µs a step"),
        Row("and with `updates=100`", f"{found['updates']:.1f} µs a step"),
        Row("and with `updates=1`", f"{found['each']:.1f} µs a step"),
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
        begun = time.perf_counter()
        for _ in range(STEPS):
            optimizer.zero_grad()
            (weight * 2.0).backward()
            optimizer.step()
            scheduler.step()
        return (time.perf_counter() - begun) / STEPS * 1e6

    def tracked(norms: str, updates: int | None = None) -> float:
        with lrtrack.track(optimizer, scheduler, norms=norms, updates=updates, flush_timeout=0):
            return loop()

    loop()
    ways: dict[str, tuple[str, int | None]] = {
        "microseconds": ("off", None),
        "norm": ("global", None),
        "updates": ("global", 100),
        "each": ("global", 1),
    }
    extra: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        bare = loop()
        for name, way in ways.items():
            extra[name].append(tracked(*way) - bare)
    return {name: statistics.median(values) for name, values in extra.items()}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
