"""For `wandb agent`: one training under the schedule and seed that the sweep hands out."""

import torch
import wandb
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import lrtrack

STEPS, BATCH = 200, 64


def main() -> None:
    """Train a small network on handwritten digits."""
    with wandb.init():
        seed = wandb.config.get("seed", 0)
        torch.manual_seed(seed)
        digits = load_digits()
        inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
        labels = torch.tensor(digits.target)
        order = torch.randperm(len(labels))
        train, held_out = order[:1400], order[1400:]
        model = torch.nn.Sequential(
            torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
        )
        opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        sched = lrtrack.scheduler(opt, wandb.config, total_steps=STEPS)
        with lrtrack.track(opt, sched, seed=seed) as run:
            for _ in range(STEPS):
                batch = train[torch.randint(len(train), (BATCH,))]
                opt.zero_grad()
                cross_entropy(model(inputs[batch]), labels[batch]).backward()
                opt.step()
                sched.step()
            with torch.no_grad():
                loss = cross_entropy(model(inputs[held_out]), labels[held_out])
            run.log(val_loss=loss.item())


if __name__ == "__main__":
    main()
