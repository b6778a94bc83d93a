"""Measures the cost per step on the training thread; prints microseconds: `thread.py ROUNDS`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import norm_passes
import processes
from results import Row, measured_row

STEPS = 30_000
#: Ways besides the first row's, in words that follow it.
_WORDS = {
    "norm": "the same with the norm of one gradient",
    "some": "and with `norms_every=10`",
    "updates": "and with `updates=100`",
    "each": "and with `updates=1`",
}


def measure(rounds: int, _: int) -> list[Row]:
    """Returns the row of each way, and those of the norm alone."""
    with processes.place() as folder:
        told = (Path(__file__), rounds)
        found = processes.python(*told, folder=folder, LRTRACK_TRACKER="local").found
    return [*_rows(found), *norm_passes.measure(rounds)]


def _rows(found: Mapping[str, Sequence[float]]) -> list[Row]:
    """Returns rows of what `main` returned."""
    how = (
        f"hooks, record and journal; processor time of loops of {STEPS:,} steps and one "
        "parameter, in turn with and without"
    )
    rows = [
        measured_row("cost on the training thread without norm", found["off"], 10.0, digits=1,
                     unit="µs a step", how=how)
    ]  # fmt: skip
    for way, words in _WORDS.items():
        rows.append(measured_row(words, found[way], digits=1, unit="µs a step"))
    saved = [
        (norm - some) / (norm - off)
        for off, norm, some in zip(found["off"], found["norm"], found["some"], strict=True)
    ]
    what = "share of that norm's cost that `norms_every=10` saves"
    return [*rows, measured_row(what, saved, digits=2)]


def main(rounds: int) -> dict[str, list[float]]:
    """Returns the differences between tracked loops and a bare one, in microseconds a step."""
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
        "off": {"norms": "off"},
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
    return extra


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
