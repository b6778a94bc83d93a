"""The loss of groups of micro-batches, of which the last of an epoch is incomplete."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import transformers

from lrtrack.capture.accumulation import FixedDivisor, exact
from lrtrack.integrations._transformers_trainer import weight
from lrtrack.integrations.transformers import LRTrack


def test_an_incomplete_group_has_the_mean_of_its_batches(digits, trainer, local) -> None:
    """The record of an incomplete group is its mean, whatever the installed release divides by."""
    task, losses, ends = digits(steps=6, batches=11), [], []

    class Ends(transformers.TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(len(losses))

    trainer_used = trainer(
        [LRTrack(tracker="local"), Ends()],
        task,
        gradient_accumulation_steps=4,
        num_train_epochs=2,
    )
    plain = trainer_used.compute_loss

    def compute_loss(*args, **options):
        losses.append(plain(*args, **options))
        return losses[-1]

    trainer_used.compute_loss = compute_loss
    trainer_used.train()
    values = [loss.item() for loss in losses]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise([0, *ends])]

    # Releases before 4.52 do not count the incomplete groups, and end after four steps.
    assert ends in ([4, 8, 11, 15, 19, 22], [4, 8, 11, 15])
    assert local()[0].series("loss")[1].tolist() == pytest.approx(means)
    assert "loss_count" not in local()[0].metrics


def test_releases_that_divide_by_a_fixed_number(digits, trainer) -> None:
    """Releases that divide by a fixed number are recognized by the Trainer's own code."""
    trainer_used = trainer([], digits(), gradient_accumulation_steps=4)
    now = weight(trainer_used.args, trainer_used, transformers.Trainer)

    class Older:
        def training_step(self) -> None:
            return None

    trainer_used.model_accepts_loss_kwargs = False
    before = weight(trainer_used.args, trainer_used, Older)
    trainer_used.model_accepts_loss_kwargs = True

    assert isinstance(before, FixedDivisor)
    assert before(3) == 4 / 3
    assert weight(trainer_used.args, trainer_used, Older) is exact
    assert now is exact or isinstance(now, FixedDivisor)
