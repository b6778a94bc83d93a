"""What the tests train with, and compare."""

from __future__ import annotations

import numpy as np
from ignite.engine import (
    Events,
    create_supervised_trainer,
)
from torch.nn.functional import cross_entropy


def trainer_of(task, **options):
    """Ignite's own supervised trainer; the schedule is stepped after each optimizer step."""
    trainer = create_supervised_trainer(task.model, task.optimizer, cross_entropy, **options)
    every = options.get("gradient_accumulation_steps", 1)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED(every=every), lambda: task.scheduler.step()
    )
    return trainer


def same(found, expected):
    """Records are equal, but for when they were made."""
    assert found.steps.tolist() == expected.steps.tolist()
    assert sorted(found.metrics) == sorted(expected.metrics)
    for name in expected.metrics:
        np.testing.assert_array_equal(found.metrics[name], expected.metrics[name], name)
    assert found.run.schedule == expected.run.schedule
