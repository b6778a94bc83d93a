"""Go on from a checkpoint in the same run: start it twice. Then: lrtrack runs --experiment resume

The first start breaks off two steps after its last checkpoint; the second makes these steps again,
in the place of those that the first one has recorded.
"""

from pathlib import Path

import torch

import lrtrack

STEPS, EVERY = 100, 20
CHECKPOINT = Path("resume.pt")


def main() -> None:
    """Train to the end, from the checkpoint where there is one."""
    found = torch.load(CHECKPOINT, weights_only=True) if CHECKPOINT.exists() else None
    torch.manual_seed(0)
    model = torch.nn.Linear(20, 1)
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=STEPS)
    first = 0
    if found is not None:
        model.load_state_dict(found["model"])
        opt.load_state_dict(found["optimizer"])
        sched.load_state_dict(found["scheduler"])
        first = found["run"]["step"] + 1

    resume = found["run"]["id"] if found else None
    with lrtrack.track(opt, sched, experiment="resume", seed=0, resume=resume) as run:
        if found is not None:
            run.load_state_dict(found["run"])
        for step in range(first, STEPS):
            opt.zero_grad()
            model(torch.randn(32, 20)).square().mean().backward()
            opt.step()
            sched.step()
            if step % EVERY == EVERY - 1:
                state = {"model": model.state_dict(), "optimizer": opt.state_dict()}
                state |= {"scheduler": sched.state_dict(), "run": run.state_dict()}
                torch.save(state, CHECKPOINT)
            if found is None and step == STEPS // 2 + EVERY // 2 + 1:
                raise SystemExit("broken off on purpose: start it again")
    CHECKPOINT.unlink()


if __name__ == "__main__":
    main()
