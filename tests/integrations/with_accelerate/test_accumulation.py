"""The loss of groups of micro-batches, of which the last of an epoch is incomplete."""

from __future__ import annotations

import pytest
import torch

from lrtrack.integrations.accelerate import LRTrack

from .loops import prepare, train


@pytest.mark.parametrize("epochs", [1, 2])
def test_an_incomplete_group_has_the_mean_of_its_batches(
    digits, accelerator, local, epochs
) -> None:
    """An incomplete group has the mean of its losses, though accelerate divides as for a full
    one.
    """
    task, losses = digits(steps=3 * epochs, batches=11), []
    accelerated = accelerator(gradient_accumulation_steps=4, log_with=LRTrack(tracker="local"))
    prepare(accelerated, task)
    accelerated.init_trackers("digits")
    plain = task.loss
    task.loss = lambda *batch: losses.append(plain(*batch)) or losses[-1]
    for _ in range(epochs):
        train(accelerated, task)
    accelerated.end_training()
    (history,) = local()
    batch_losses = torch.stack(losses).detach().double().reshape(epochs, 11)
    means = [part.mean().item() for epoch in batch_losses for part in epoch.split(4)]

    assert history.series("loss")[1].tolist() == pytest.approx(means)
    assert "loss_count" not in history.metrics


def test_a_loop_that_accumulates_by_itself_has_counts(digits, accelerator, local) -> None:
    """A loop that accumulates by itself has counts, because accelerate does not know its
    divisor.
    """
    task = digits(steps=3, batches=5)
    accelerated = accelerator(log_with=LRTrack(tracker="local"))
    prepare(accelerated, task)
    accelerated.init_trackers("digits")
    for number, batch in enumerate(task.batches()):
        accelerated.backward(task.loss(*batch) / 2)
        if number % 2 or number == 4:
            task.optimizer.step()
            task.optimizer.zero_grad()
    accelerated.end_training()

    assert local()[0].series("loss_count")[1].tolist() == [2.0, 2.0, 1.0]
