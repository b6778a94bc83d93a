"""A training in its own process that resumes: `resumed.py STEPS [DIE_AT]`.

Updates `checkpoint.pt` in the working directory after every third step. Prints the expected values
of each step as a line of JSON. Kills itself before step DIE_AT, as a cluster does.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

import lrtrack

CHECKPOINT = Path("checkpoint.pt")


def main(steps: int, die_at: int) -> None:
    """Trains until `steps` steps are made in all."""
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.7)
    state = torch.load(CHECKPOINT) if CHECKPOINT.exists() else None
    name, resume = os.environ["RUN_NAME"], state["run"]["id"] if state else None
    options = {"experiment": "conformance", "name": name, "resume": resume}
    with lrtrack.track(optimizer, scheduler, flush_timeout=0, **options) as run:
        for part in (model, optimizer, scheduler) if state else ():
            part.load_state_dict(state[type(part).__name__])
        if state:
            run.load_state_dict(state["run"])
        for step in range(run.step + 1, steps):
            if step == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            torch.manual_seed(step)  # the batch depends only on the step
            optimizer.zero_grad()
            loss = (model(torch.randn(8, 4)) - 1).square().mean()
            loss.backward()
            norm = sum(p.grad.double().square().sum().item() for p in model.parameters()) ** 0.5
            row = {"lr": optimizer.param_groups[0]["lr"], "grad_norm": norm, "loss": loss.item()}
            print(json.dumps({"step": step, **row}), flush=True)
            optimizer.step()
            scheduler.step()
            if step % 3 == 2:
                parts = {type(e).__name__: e.state_dict() for e in (model, optimizer, scheduler)}
                torch.save({"run": run.state_dict(), **parts}, CHECKPOINT)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else -1)
