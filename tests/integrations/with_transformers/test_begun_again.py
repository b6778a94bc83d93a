"""A training that runs out of memory, and is begun again with smaller batches."""

from __future__ import annotations

from lrtrack.integrations.transformers import LRTrack
from lrtrack.records import State


def test_auto_find_batch_size(digits, trainer, local) -> None:
    """The attempt that failed is FAILED; the one that succeeds is recorded from its first step."""
    made = trainer(
        [LRTrack(tracker="local")], auto_find_batch_size=True, per_device_train_batch_size=32
    )
    step, sizes = made.training_step, []

    def training_step(model, inputs, *rest):
        sizes.append(len(inputs["labels"]))
        if len(sizes) == 4:
            raise RuntimeError("CUDA out of memory.")
        return step(model, inputs, *rest)

    made.training_step = training_step
    made.train()
    first, second = reversed(local())
    steps = len(sizes) - 4

    assert (first.state, first.steps.tolist()) == (State.FAILED, [0, 1, 2])
    assert (second.state, second.steps.tolist()) == (State.FINISHED, list(range(steps)))
    assert second.series("loss")[0].tolist() == list(range(steps))
    assert max(sizes[4:]) < 32


def test_two_trainings_of_one_trainer(digits, trainer, local) -> None:
    """Each has a run of its own."""
    task = digits(steps=24, batches=12)
    made = trainer([LRTrack(tracker="local")], task)
    made.train()
    made.train()

    assert [history.state for history in local()] == [State.FINISHED] * 2
    assert [history.steps.size for history in local()] == [12, 12]
