"""Trainers for the tests, and comparisons."""

from __future__ import annotations

import numpy as np
from ignite.engine import (
    Events,
    create_supervised_trainer,
)
from torch.nn.functional import cross_entropy


def trainer_of(task, **options):
    """Ignite's supervised trainer, with the schedule stepped after each optimizer step."""
    trainer = create_supervised_trainer(task.model, task.optimizer, cross_entropy, **options)
    every = options.get("gradient_accumulation_steps", 1)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED(every=every), lambda: task.scheduler.step()
    )
    return trainer


def same(history, expected):
    """Asserts that two runs have equal records, apart from their times."""
    assert history.steps.tolist() == expected.steps.tolist()
    assert sorted(history.metrics) == sorted(expected.metrics)
    for name in expected.metrics:
        np.testing.assert_array_equal(history.metrics[name], expected.metrics[name], name)
    assert history.run.schedule == expected.run.schedule
