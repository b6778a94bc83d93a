"""A small training in its own process, as a victim: `trainer.py STEPS PAUSE [ENDING]`.

Prints `ready` after the first step. The loss identifies the step (`loss`); `truth` is what a
tracker
must have. `ENDING` is what happens after the last step, inside the block: see `_end`.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable

EXPERIMENT = "faults"


def truth(steps: int) -> list[tuple[int, float]]:
    """Returns (step, loss) of a run with that many steps."""
    return [(step, loss(step)) for step in range(steps)]


def loss(step: int) -> float:
    """Returns the loss of a step: a whole number, which float32 holds exactly."""
    return float(step + 1)


def main(
    steps: int,
    pause: float,
    ending: str = "return",
    name: str = "hurt",
    told: Callable[[int], bool] = lambda step: True,
) -> None:
    """Trains; calls `told` after each step, which returns whether to continue."""
    import torch

    import lrtrack

    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10**9)
    with lrtrack.track(optimizer, scheduler, experiment=EXPERIMENT, seed=0, name=name):
        for step in range(steps):
            optimizer.zero_grad()
            (weight * 0.0 + loss(step)).backward()
            optimizer.step()
            scheduler.step()
            if step == 0:
                print("ready", flush=True)
            if not told(step):
                break
            if pause:
                time.sleep(pause)
        _end(ending)
    print("done", flush=True)


def _end(ending: str) -> None:
    """Leaves the block as `ending` says; `return` leaves it normally."""
    if ending == "exception":
        raise RuntimeError("the training went wrong")
    if ending == "sys.exit":
        sys.exit(3)
    if ending == "os._exit":
        os._exit(3)
    if ending == "MemoryError":
        resource.setrlimit(resource.RLIMIT_AS, (2**30, resource.RLIM_INFINITY))
        bytearray(2**40)
    if ending == "eat":  # far more than the test allows, and little enough for any machine
        _hoard.append(bytes(range(256)) * 2**20)
    if ending == "wait":
        time.sleep(600)


_hoard: list[bytes] = []

if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), *sys.argv[3:4])
