"""Ranger with a flat-then-cosine schedule on handwritten digits: pip install 'lrtrack[ranger]'

Afterwards: lrtrack runs --experiment ranger
"""

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import lrtrack

STEPS, BATCH = 400, 64


def main() -> None:
    """Train flat for most of the steps, then down to zero along a cosine."""
    torch.manual_seed(0)
    digits = load_digits()
    inputs, labels = torch.tensor(digits.data / 16).float(), torch.tensor(digits.target)
    order = torch.randperm(len(labels))
    train, held_out = order[:1400], order[1400:]
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    opt = lrtrack.ranger(model.parameters(), lr=0.01)
    sched = lrtrack.scheduler(opt, "flat_cosine(flat=0.72)", total_steps=STEPS)

    with lrtrack.track(opt, sched, experiment="ranger", seed=0) as run:
        for _ in range(STEPS):
            chosen = train[torch.randint(len(train), (BATCH,))]
            opt.zero_grad()
            cross_entropy(model(inputs[chosen]), labels[chosen]).backward()
            opt.step()
            sched.step()
        with torch.no_grad():
            right = model(inputs[held_out]).argmax(dim=1) == labels[held_out]
        run.log(val_accuracy=right.float().mean())
    print(f"held-out accuracy: {right.float().mean():.3f}")


if __name__ == "__main__":
    main()
