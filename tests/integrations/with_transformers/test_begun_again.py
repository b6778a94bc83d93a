"""A training that runs out of memory and starts again with smaller batches."""

from __future__ import annotations

from lrtrack.integrations.transformers import LRTrack
from lrtrack.records import State


def test_auto_find_batch_size(digits, trainer, local) -> None:
    """The failed attempt is FAILED, and the good one is recorded from its first step."""
    task = digits(steps=24, batches=12)  # its schedule goes on in the second attempt
    trainer_used = trainer(
        [LRTrack(tracker="local")], task, auto_find_batch_size=True, per_device_train_batch_size=32
    )
    step, sizes = trainer_used.training_step, []

    def training_step(model, inputs, *rest):
        sizes.append(len(inputs["labels"]))
        if len(sizes) == 4:
            raise RuntimeError("CUDA out of memory.")
        return step(model, inputs, *rest)

    trainer_used.training_step = training_step
    trainer_used.train()
    first, second = reversed(local())
    steps = len(sizes) - 4

    assert (first.state, first.steps.tolist()) == (State.FAILED, [0, 1, 2])
    assert (second.state, second.steps.tolist()) == (State.FINISHED, list(range(steps)))
    assert second.series("loss")[0].tolist() == list(range(steps))
    assert max(sizes[4:]) < 32


def test_two_trainings_of_one_trainer(digits, trainer, local) -> None:
    """Two trainings of one Trainer have a run each."""
    task = digits(steps=24, batches=12)
    trainer_used = trainer([LRTrack(tracker="local")], task)
    trainer_used.train()
    trainer_used.train()

    assert [history.state for history in local()] == [State.FINISHED] * 2
    assert [history.steps.size for history in local()] == [12, 12]
