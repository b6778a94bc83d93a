"""Decay by the clock, whatever the step rate; then: lrtrack compare --experiment time --x time

The rate halves every half second here, however fast the machine is: on a shared one, or where
steps differ in length, a schedule by steps would end too early or too late.
"""

import time

import torch

import lrtrack

SECONDS, HALF_LIFE = 2.0, 0.5


def train(seed: int) -> None:
    """Train for a given time."""
    torch.manual_seed(seed)
    inputs = torch.randn(512, 20)
    targets = inputs[:, :1].tanh()
    model = torch.nn.Linear(20, 1)
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    sched = lrtrack.TimeDecayLR(opt, half_life=HALF_LIFE)

    with lrtrack.track(opt, sched, experiment="time", seed=seed):
        began = time.monotonic()
        while time.monotonic() - began < SECONDS:
            opt.zero_grad()
            torch.nn.functional.mse_loss(model(inputs), targets).backward()
            opt.step()
            sched.step()
            time.sleep(0.002 * (1 + seed))  # as if the second machine were slower


if __name__ == "__main__":
    for seed in range(2):
        train(seed)
