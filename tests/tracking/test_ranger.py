"""Optimizers of pytorch-optimizer under `track()`: Ranger, Ranger21 and Lookahead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import lrtrack

package = pytest.importorskip("pytorch_optimizer", reason="pip install 'lrtrack[ranger]'")

#: Ranger21's own schedule is not in its param groups, so the one given here is the only one.
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "Ranger": lambda p: package.Ranger(p, lr=0.05),
    "Ranger21": lambda p: package.Ranger21(
        p, num_iterations=30, lr=0.05, disable_lr_scheduler=True
    ),
    "Lookahead": lambda p: package.Lookahead(torch.optim.Adam(p, lr=0.05), k=3),
    "Lookahead of SGD": lambda p: package.Lookahead(
        torch.optim.SGD([{"params": list(p), "name": "all"}], lr=0.05, momentum=0.9)
    ),
}


def train(make: Callable[[Any], Any], tracked: bool) -> tuple[list[dict[str, float]], Any]:
    """Trains thirty steps with a flat-then-cosine schedule; returns records and weights."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    inputs, labels = torch.randn(32, 8), torch.randint(0, 3, (32,))
    optimizer = make(model.parameters())
    parts = [
        torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1, total_iters=20),
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10),
    ]
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, parts, [20])
    truth = []

    def loop() -> None:
        for _ in range(30):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            gradients = [p.grad.double().flatten() for p in model.parameters()]
            truth.append(
                {
                    "lr": optimizer.param_groups[0]["lr"],
                    "loss": loss.item(),
                    "grad_norm": torch.cat(gradients).norm().item(),
                }
            )
            optimizer.step()
            scheduler.step()

    if tracked:
        with lrtrack.track(optimizer, scheduler, tracker="local"):
            loop()
    else:
        loop()
    return truth, [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_recorded_as_it_was(name, local) -> None:
    """Each step is recorded with rate, loss and gradient norm, and the weights do not change."""
    truth, weights = train(OPTIMIZERS[name], tracked=True)
    bare_truth, bare = train(OPTIMIZERS[name], tracked=False)

    (history,) = local()
    assert history.steps.tolist() == list(range(30))
    assert history.metrics["lr"].tolist() == [row["lr"] for row in truth]
    assert history.metrics["lr"][-1] < 0.01
    assert history.metrics["loss"].tolist() == [row["loss"] for row in truth]
    norms = [row["grad_norm"] for row in truth]
    np.testing.assert_allclose(history.metrics["grad_norm"], norms, rtol=1e-5)
    assert bare_truth == truth
    assert all(map(torch.equal, weights, bare))
    assert history.run.optimizer["name"] == name.partition(" ")[0]
    assert history.run.schedule.name == "SequentialLR"
