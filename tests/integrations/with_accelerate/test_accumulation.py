"""The loss of groups of batches, the last of an epoch incomplete."""

from __future__ import annotations

import pytest
import torch

from lrtrack.integrations.accelerate import LRTrack

from .loops import prepare, train


@pytest.mark.parametrize("epochs", [1, 2])
def test_an_incomplete_group_has_the_mean_of_its_batches(
    digits, accelerator, local, epochs
) -> None:
    """accelerate divides each by the number of a complete group, and steps at the epoch's end."""
    task, losses = digits(steps=3 * epochs, batches=11), []
    found = accelerator(gradient_accumulation_steps=4, log_with=LRTrack(tracker="local"))
    prepare(found, task)
    found.init_trackers("digits")
    plain = task.loss
    task.loss = lambda *batch: losses.append(plain(*batch)) or losses[-1]
    for _ in range(epochs):
        train(found, task)
    found.end_training()
    (history,) = local()
    seen = torch.stack(losses).detach().double().reshape(epochs, 11)
    means = [part.mean().item() for epoch in seen for part in epoch.split(4)]

    assert history.series("loss")[1].tolist() == pytest.approx(means)
    assert "loss_count" not in history.metrics


def test_a_loop_that_accumulates_by_itself_has_counts(digits, accelerator, local) -> None:
    """Without `gradient_accumulation_steps`, accelerate says nothing of how losses were divided."""
    task = digits(steps=3, batches=5)
    found = accelerator(log_with=LRTrack(tracker="local"))
    prepare(found, task)
    found.init_trackers("digits")
    for number, batch in enumerate(task.batches()):
        found.backward(task.loss(*batch) / 2)
        if number % 2 or number == 4:
            task.optimizer.step()
            task.optimizer.zero_grad()
    found.end_training()

    assert local()[0].series("loss_count")[1].tolist() == [2.0, 2.0, 1.0]
