"""Several trainings with one tracker, or one after the other in one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import accelerate
import pytest
from accelerate.utils import find_executable_batch_size

from lrtrack.integrations.accelerate import LRTrack
from lrtrack.records import State

from .loops import prepare, train


class Loop:
    """A training that runs out of memory in its fourth step until the batches are small."""

    def __init__(self, digits: Callable[..., Any], **options: Any) -> None:
        self.digits = digits
        self.options = options
        self.tasks: list[Any] = []

    def __call__(self, found: Any, batch_size: int) -> None:
        """Prepares a new task, starts the trackers, and trains."""
        task = self.digits()
        self.tasks.append(task)
        prepare(found, task)
        found.init_trackers("digits", **self.options)

        def fail(number: int) -> None:
            if batch_size > 8 and number == 3:
                raise RuntimeError("CUDA out of memory.")

        train(found, task, each=fail)


def told(histories: list[Any]) -> list[tuple[State, int]]:
    """Returns state and number of steps of each run, oldest first."""
    return [(history.state, history.steps.size) for history in reversed(histories)]


@pytest.mark.parametrize("options", [{}, {"config": {"batch_size": 16}}])
@pytest.mark.parametrize("freed", [True, False])
def test_a_smaller_batch_is_tried(digits, accelerator, local, options, freed: bool) -> None:
    """With `find_executable_batch_size`, the failed attempt is FAILED and the good one is
    recorded.
    """
    accelerated = accelerator(log_with=LRTrack(tracker="local"))
    loop, attempts = Loop(digits, **options), []

    @find_executable_batch_size(starting_batch_size=16, reduce_batch_size_fn=lambda: 8)
    def attempt(batch_size: int) -> None:
        attempts.append(batch_size)
        if freed:
            accelerated.free_memory()
        loop(accelerated, batch_size)

    attempt()
    accelerated.end_training()
    first, second = reversed(local())

    assert attempts == [16, 8]
    assert told(local()) == [(State.FAILED, 4), (State.FINISHED, 12)]
    assert set(second.metrics) == set(first.metrics)
    assert second.run.config == options.get("config", {})


@pytest.mark.parametrize("ended", [True, False])
def test_two_trainings_in_one_program(digits, accelerator, local, ended: bool) -> None:
    """Each training has its run; one that was not ended is FAILED when the next starts."""
    tracker = LRTrack(tracker="local")
    accelerated, loop = accelerator(log_with=tracker), Loop(digits, config={"depth": 1})
    runs = []
    for _ in range(3):
        loop(accelerated, 8)
        accelerated.log({"val_loss": 1.0})
        runs.append(tracker.run)
        if ended:
            accelerated.end_training()
    accelerated.end_training()

    assert len({run.id for run in runs}) == 3
    state = State.FINISHED if ended else State.FAILED
    assert told(local()) == [(state, 12), (state, 12), (State.FINISHED, 12)]
    assert all(history.series("val_loss")[0].tolist() == [11] for history in local())


@pytest.mark.parametrize("same", [True, False])
def test_a_new_accelerator(digits, accelerator, local, same: bool) -> None:
    """With a new Accelerator the first training ends, with the same tracker or a new one."""
    tracker = LRTrack(tracker="local")
    loop = Loop(digits, config={"depth": 1})

    def attempt(batch_size: int) -> Any:
        accelerated = accelerator(log_with=tracker if same else LRTrack(tracker="local"))
        loop(accelerated, batch_size)
        return accelerated

    with pytest.raises(RuntimeError, match="out of memory"):
        attempt(16)
    accelerated = attempt(8)
    states = [history.state for history in reversed(local())]
    accelerated.end_training()

    assert states == [State.FAILED, State.RUNNING]
    assert told(local()) == [(State.FAILED, 4), (State.FINISHED, 12)]


def test_two_accelerators_at_a_time(digits, accelerator, local) -> None:
    """Two Accelerators at a time both have their trainings recorded."""
    loop = Loop(digits)
    first, second = (accelerator(log_with=LRTrack(tracker="local")) for _ in range(2))
    loop(first, 8)
    loop(second, 8)
    train(first, loop.tasks[0])
    first.end_training()
    second.end_training()

    assert told(local()) == [(State.FINISHED, 24), (State.FINISHED, 12)]


def test_an_optimizer_that_was_given(digits, accelerator, local) -> None:
    """An optimizer given to the tracker is observed as long as it is the one that is trained."""
    task = digits()
    accelerated = accelerator(log_with=LRTrack(task.optimizer, task.scheduler, tracker="local"))
    prepare(accelerated, task)
    accelerated.init_trackers("digits")
    train(accelerated, task)
    accelerated.end_training()
    loop = Loop(digits)
    loop(accelerated, 8)
    accelerated.end_training()

    assert told(local()) == [(State.FINISHED, 12), (State.FINISHED, 12)]
    assert isinstance(accelerated, accelerate.Accelerator)
