"""Find a learning rate first, then train with it: handwritten digits under a one-cycle schedule.

Afterwards: lrtrack runs --experiment lr-finder
"""

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import lrtrack

STEPS, BATCH = 400, 64


def main() -> None:
    """Run the range test, then train with the rate that it suggests."""
    torch.manual_seed(0)
    digits = load_digits()
    inputs, labels = torch.tensor(digits.data / 16).float(), torch.tensor(digits.target)
    order = torch.randperm(len(labels))
    train, held_out = order[:1400], order[1400:]
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def batch() -> torch.Tensor:
        """Run forward and backward on one batch and return the loss."""
        chosen = train[torch.randint(len(train), (BATCH,))]
        loss = cross_entropy(model(inputs[chosen]), labels[chosen])
        loss.backward()
        return loss

    result = lrtrack.find_lr(model, opt, batch, track={"experiment": "lr-finder", "seed": 0})
    print(f"suggested learning rate: {result.suggestion:.3g}")
    result.plot("lr_finder.png")

    sched = torch.optim.lr_scheduler.OneCycleLR(opt, result.suggestion, total_steps=STEPS)
    with lrtrack.track(opt, sched, experiment="lr-finder", seed=0) as run:
        for _ in range(STEPS):
            opt.zero_grad()
            batch()
            opt.step()
            sched.step()
        with torch.no_grad():
            correct = model(inputs[held_out]).argmax(dim=1) == labels[held_out]
        run.log(val_accuracy=correct.float().mean())
    print(f"held-out accuracy: {correct.float().mean():.3f}")


if __name__ == "__main__":
    main()
