"""A small training process that tests can kill: `trainer.py STEPS PAUSE`.

Prints `ready` after the first step. The loss is 1/(1+step), so each value identifies its step.
"""

import sys
import time

import torch

import lrtrack


def main(steps: int, pause: float) -> None:
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10**9)
    with lrtrack.track(optimizer, scheduler, experiment="faults", seed=0, name="killable"):
        for step in range(steps):
            optimizer.zero_grad()
            (weight * 0.0 + 1.0 / (1 + step)).backward()
            optimizer.step()
            scheduler.step()
            if step == 0:
                print("ready", flush=True)
            time.sleep(pause)
    print("done", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
