"""A hundred runs to look at: `python tests/bench/experiment.py`, then any of lrtrack's reports.

Ten schedules × ten seeds train a small network on handwritten digits through the real tracker. As
in real life, two runs of a schedule meet a corrupt batch and diverge, and one run is broken off.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn

import lrtrack

BATCH, RATE, HELD_OUT = 32, 0.1, 597
#: The spec of each schedule, for a number of steps.
SPECS = (
    "constant",
    "step(steps={quarter}, factor=0.3)",
    "multistep(milestones=[{half}, {three}])",
    "exponential(factor={gamma})",
    "cosine(steps={steps})",
    "cosine_restarts(steps={quarter})",
    "onecycle(max_lr=0.1, steps={steps})",
    "onecycle(max_lr=0.3, steps={steps})",
    "cyclic(min_lr=0.002, max_lr=0.2, steps={eighth}, mode=triangular2)",
    "warmup(steps={tenth}, start=0.1) -> cosine",
)
#: (index in SPECS, seed) of the runs that meet a corrupt batch, and of the interrupted one.
DIVERGE = {(8, 3), (8, 7)}
BROKEN_OFF = (1, 9)


class BrokenOff(Exception):
    """Raised to interrupt a training."""


def main() -> None:
    """Trains all runs and prints how to view them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiment", default="hundred")
    parser.add_argument("--tracker", help="as in track(); default: the tracker's own rules")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=10)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for seed in range(given.seeds):
        for place in range(len(SPECS)):
            train(place, seed, given)
        print(f"seed {seed} of {given.seeds} done", file=sys.stderr)
    print(f"lrtrack sync; lrtrack compare --experiment {given.experiment} --metric val_loss")


def train(place: int, seed: int, given: argparse.Namespace) -> None:
    """Trains one run."""
    images, labels, held_images, held_labels = digits()
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    spec = spec_of(place, given.steps)
    scheduler = lrtrack.scheduler(optimizer, spec, total_steps=given.steps)
    every = max(1, given.steps // 20)
    try:
        with lrtrack.track(
            optimizer,
            scheduler,
            tracker=given.tracker,
            experiment=given.experiment,
            seed=seed,
            config={"batch_size": BATCH, "steps": given.steps, "data": "digits"},
            flush_timeout=0.0,
        ) as run:
            for step in range(given.steps):
                batch = images[picked := torch.randint(len(images), (BATCH,))]
                if (place, seed) in DIVERGE and step == given.steps * 3 // 5:
                    batch = batch * torch.inf
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(batch), labels[picked]).backward()
                optimizer.step()
                scheduler.step()
                if step % every == every - 1:
                    run.log(judged(model, held_images, held_labels))
                if (place, seed) == BROKEN_OFF and step == given.steps // 2:
                    raise BrokenOff
    except BrokenOff:
        pass


def spec_of(place: int, steps: int) -> str:
    """Returns a schedule of `SPECS`, stretched over `steps`."""
    return SPECS[place].format(
        steps=steps,
        tenth=steps // 10,
        eighth=steps // 8,
        quarter=steps // 4,
        half=steps // 2,
        three=steps * 3 // 4,
        gamma=round(0.01 ** (1 / steps), 6),
    )


@torch.no_grad()
def judged(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Returns loss and accuracy on the held-out images."""
    scores = model(images)
    right = scores.argmax(dim=1) == labels
    return {
        "val_loss": nn.functional.cross_entropy(scores, labels).item(),
        "val_accuracy": right.float().mean().item(),
    }


def digits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns training images (1200, 64) with labels (1200,), and held-out (597, 64) with
    (597,).
    """
    data: Any = load_digits()
    images = torch.tensor(data.data / 16, dtype=torch.float32)
    labels = torch.tensor(data.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train_on, held_out = order[HELD_OUT:], order[:HELD_OUT]
    return images[train_on], labels[train_on], images[held_out], labels[held_out]


if __name__ == "__main__":
    main()
