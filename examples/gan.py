"""A GAN's two optimizers in one run; then: lrtrack compare --experiment gan --metric generator/loss

A prefix tells their metrics apart: in `mlflow ui` the run has generator/lr and discriminator/lr.
"""

import mlflow
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as loss_of

import lrtrack

STEPS, BATCH = 200, 64


def network(inputs: int, outputs: int) -> torch.nn.Module:
    """A small network."""
    return torch.nn.Sequential(
        torch.nn.Linear(inputs, 32), torch.nn.LeakyReLU(0.2), torch.nn.Linear(32, outputs)
    )


def main() -> None:
    """Let a generator learn a ring of points, against a discriminator."""
    torch.manual_seed(0)
    generator, discriminator = network(8, 2), network(2, 1)
    opt_g = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.9))
    opt_d = torch.optim.Adam(discriminator.parameters(), lr=2e-3, betas=(0.5, 0.9))
    sched_g = torch.optim.lr_scheduler.CosineAnnealingLR(opt_g, T_max=STEPS)
    sched_d = torch.optim.lr_scheduler.ExponentialLR(opt_d, gamma=0.99)

    mlflow.set_experiment("gan")
    with (
        mlflow.start_run(),  # an open run is joined, by both blocks
        lrtrack.track(opt_g, sched_g, prefix="generator/", seed=0),
        lrtrack.track(opt_d, sched_d, prefix="discriminator/", seed=0),
    ):
        for _ in range(STEPS):
            angle = 2 * torch.pi * torch.rand(BATCH)
            real = torch.stack([angle.cos(), angle.sin()], dim=1)
            fake = generator(torch.randn(BATCH, 8))
            opt_d.zero_grad()
            said = discriminator(torch.cat([real, fake.detach()]))
            loss_of(said, torch.cat([torch.ones(BATCH, 1), torch.zeros(BATCH, 1)])).backward()
            opt_d.step()
            opt_g.zero_grad()
            loss_of(discriminator(fake), torch.ones(BATCH, 1)).backward()
            opt_g.step()
            sched_d.step()
            sched_g.step()


if __name__ == "__main__":
    main()
