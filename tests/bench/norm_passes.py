"""Measures ways to compute a norm on the CPU; prints microseconds: `norm_passes.py ROUNDS`.

The gradients are those of the loop that `loop.py` trains, and the same ones in bfloat16. Each way
takes its turn after other work, as in a training, where its code and data have left the caches.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import processes
from results import Row, measured_row

#: Turns of each way in a round.
TURNS = 40
#: Way, what it is called, the way that it is divided by, and what that one is called.
_PAIRS = (
    ("pass", "one norm: lrtrack's single pass", "torch", "torch's `get_total_norm`"),
    ("flat", "one norm: of the same numbers in one buffer, as DDP's buckets hold them", "pass",
     "the single pass"),
    ("half", "one norm of bfloat16 gradients: lrtrack's single pass", "half-each",
     "one call for each gradient"),
)  # fmt: skip


def measure(rounds: int) -> list[Row]:
    """Returns a row for each pair of ways."""
    with processes.place() as folder:
        took = processes.python(Path(__file__), rounds, folder=folder).found
    rows = []
    for name, text, to, other in _PAIRS:
        ratios = [own / base for own, base in zip(took[name], took[to], strict=True)]
        how = (
            f"{statistics.median(took[name]):.0f} µs and {statistics.median(took[to]):.0f} µs of "
            f"processor time; {TURNS} turns a round"
        )
        rows.append(measured_row(f"{text} / {other}", ratios, digits=2, how=how))
    return rows


def main(rounds: int) -> dict[str, list[float]]:
    """Returns the median processor time of each way in each round, in microseconds."""
    import torch
    from loop import Task

    from lrtrack.capture import norms

    task = Task(100, 1)
    task.loss()
    groups = task.optimizer.param_groups
    flat = torch.cat([p.grad.flatten() for p in task.model.parameters()])
    halves = [torch.nn.Parameter(p.detach().bfloat16()) for p in task.model.parameters()]
    for half, parameter in zip(halves, task.model.parameters(), strict=True):
        half.grad = parameter.grad.bfloat16()
    own, whole = norms.measure("global", None), torch.linalg.vector_norm

    def each() -> float:
        found = [whole(half.grad, 2.0, dtype=torch.float32) for half in halves]
        return float(whole(torch.stack(found)))

    ways: dict[str, Callable[[], Any]] = {
        "torch": lambda: task.norm().item(),
        "pass": lambda: own(groups),
        "flat": lambda: whole(flat).item(),
        "half": lambda: own([{"params": halves}]),
        "half-each": each,
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    with torch.no_grad():
        for _ in range(rounds):
            took: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(TURNS):
                for name in random.sample(list(ways), len(ways)):
                    task.model(task.inputs)
                    begun = time.thread_time()
                    ways[name]()
                    took[name].append((time.thread_time() - begun) * 1e6)
            for name, values in took.items():
                found[name].append(statistics.median(values))
    return found


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
