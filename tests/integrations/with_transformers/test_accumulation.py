"""The loss of groups of batches, the last of an epoch incomplete."""

from __future__ import annotations

import pytest
import torch

from lrtrack.capture.accumulation import FixedDivisor, exact
from lrtrack.integrations import transformers as integration
from lrtrack.integrations.transformers import LRTrack


def test_an_incomplete_group_has_the_mean_of_its_batches(digits, trainer, local) -> None:
    """Whatever the installed release divides by: the record is the mean."""
    task, losses = digits(steps=6, batches=11), []
    made = trainer(
        [LRTrack(tracker="local")], task, gradient_accumulation_steps=4, num_train_epochs=2
    )
    plain = made.compute_loss

    def compute_loss(*args, **options):
        losses.append(plain(*args, **options))
        return losses[-1]

    made.compute_loss = compute_loss
    made.train()
    seen = torch.stack(losses).detach().double().reshape(2, 11)
    means = [part.mean().item() for epoch in seen for part in epoch.split(4)]

    assert local()[0].series("loss")[1].tolist() == pytest.approx(means)
    assert "loss_count" not in local()[0].metrics


def test_releases_that_divide_by_a_fixed_number(digits, trainer, monkeypatch) -> None:
    """Known by the Trainer's own code, and left alone where the model divides by its labels."""
    made = trainer([], digits(), gradient_accumulation_steps=4)
    now = integration._weight(made.args, made)

    def training_step(self) -> None:
        return None

    monkeypatch.setattr(integration._transformers.Trainer, "training_step", training_step)
    made.model_accepts_loss_kwargs = False
    before = integration._weight(made.args, made)
    made.model_accepts_loss_kwargs = True

    assert isinstance(before, FixedDivisor)
    assert before(3) == 4 / 3
    assert integration._weight(made.args, made) is exact
    assert now is exact or isinstance(now, FixedDivisor)
