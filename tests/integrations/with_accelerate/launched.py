"""Trains in the processes that a launcher has started, and notes what each of them measured."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

import lrtrack

STEPS = 5
VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE")


def network() -> torch.nn.Module:
    """The same weights in each process."""
    torch.manual_seed(0)
    return torch.nn.Linear(4, 3)


def main(launcher: str) -> None:
    """Trains, each process on rows of its own, with what a user of this launcher would write."""
    inner, alone = network(), network()
    optimizer = torch.optim.SGD(inner.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=2 * STEPS)
    backward = torch.Tensor.backward
    if launcher == "accelerate":
        from accelerate import Accelerator

        accelerator = Accelerator(cpu=True)
        model, optimizer, scheduler = accelerator.prepare(inner, optimizer, scheduler)
        backward = accelerator.backward
    else:
        torch.distributed.init_process_group("gloo")
        model = DistributedDataParallel(inner)
    rank = int(os.environ["RANK"])
    rows = torch.Generator().manual_seed(rank)
    noted = []
    with lrtrack.track(optimizer, scheduler, name=launcher, seed=0):
        for step in range(STEPS):
            inputs = torch.randn(8, 4, generator=rows)
            labels = torch.randint(3, (8,), generator=rows)
            alone.load_state_dict(inner.state_dict())
            own = torch.autograd.grad(cross_entropy(alone(inputs), labels), [*alone.parameters()])
            optimizer.zero_grad()
            loss = cross_entropy(model(inputs), labels)
            backward(loss)
            rate = optimizer.param_groups[0]["lr"]
            gradient = torch.cat([part.flatten() for part in own]).tolist()
            noted.append({"step": step, "lr": rate, "loss": loss.item(), "gradient": gradient})
            optimizer.step()
            scheduler.step()
    environment = {name: os.environ[name] for name in VARIABLES}
    Path(f"{rank}.json").write_text(json.dumps({"environment": environment, "steps": noted}))


if __name__ == "__main__":
    main(sys.argv[1])
    torch.distributed.destroy_process_group()
    # torch may abort where the interpreter shuts down while a thread of Gloo holds a tensor
    # (https://github.com/pytorch/pytorch/pull/179291).
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
