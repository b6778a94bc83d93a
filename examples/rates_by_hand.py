"""Rates that the loop sets by hand; then: lrtrack compare --experiment by-hand

There is no scheduler object. The two schedules are found in the learning rates of the steps.
"""

import math
from collections.abc import Callable

import torch

import lrtrack

STEPS, WARMUP, PEAK = 200, 20, 0.3


def cosine(step: int) -> float:
    """Return the rate of a linear warm-up, then half a cosine."""
    if step < WARMUP:
        return PEAK * (step + 1) / WARMUP
    return PEAK / 2 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))


def linear(step: int) -> float:
    """Return the rate of a linear warm-up, then a line down to zero."""
    if step < WARMUP:
        return PEAK * (step + 1) / WARMUP
    return PEAK * (STEPS - step) / (STEPS - WARMUP)


def train(rate: Callable[[int], float], seed: int) -> None:
    """Train a small model, and set the rate before each step."""
    torch.manual_seed(seed)
    inputs = torch.randn(512, 20)
    targets = inputs[:, :1].tanh()
    model = torch.nn.Linear(20, 1)
    opt = torch.optim.SGD(model.parameters(), lr=PEAK)

    with lrtrack.track(opt, experiment="by-hand", seed=seed):
        for step in range(STEPS):
            for group in opt.param_groups:
                group["lr"] = rate(step)
            batch = torch.randint(512, (32,))
            opt.zero_grad()
            torch.nn.functional.mse_loss(model(inputs[batch]), targets[batch]).backward()
            opt.step()


if __name__ == "__main__":
    for rate in (cosine, linear):
        for seed in range(3):
            train(rate, seed)
