"""One report over several experiments."""

import pytest

import lrtrack
from lrtrack.errors import NothingFound
from lrtrack.records import Run, State, StepRecord
from lrtrack.schedules import Schedule
from lrtrack.trackers.memory import MemoryTracker


@pytest.fixture
def tracker(clean_place):
    """A tracker with two experiments, whose losses have different sizes."""
    tracker = MemoryTracker()
    for experiment, size in (("mnist", 1.0), ("cifar", 50.0)):
        for schedule, base in (("A", 1.0), ("B", 1.5)):
            for seed in range(3):
                run = Run(
                    id=f"{experiment}{schedule}{seed}".ljust(32, "0"), name="r",
                    schedule=Schedule(schedule), seed=seed,
                )  # fmt: skip
                sink = tracker.sink(run, tracker.target(experiment), None)
                sink.open()
                loss = size * (base + seed * seed * base / 20)
                sink.write([StepRecord(0, 1.0, {"loss": loss, "lr": 0.1})], doubt=False)
                sink.close(State.FINISHED, 2.0, {})
    return tracker


def test_experiments_are_tasks(tracker):
    """Several experiments are compared by scores relative to the best schedule of each."""
    found = lrtrack.compare(["mnist", "cifar"], tracker=tracker)

    assert (found.experiment, found.task) == ("mnist, cifar", "experiment")
    assert [task.task for task in found.schedules[0].tasks] == ["cifar", "mnist"]
    assert [task.score for task in found.schedules[1].tasks] == pytest.approx([1.5, 1.5])
    assert found.headline.startswith(
        "A has the lowest final loss over 2 tasks, relative to the best of each: 1.000 ["
    )
    assert "mean rank" in str(found)


def test_one_experiment_twice_is_one(tracker):
    """The same experiment twice is one experiment, and one that is missing is an error."""
    assert lrtrack.compare(["mnist", "mnist"], tracker=tracker).task is None
    with pytest.raises(NothingFound):
        lrtrack.compare(["mnist", "other"], tracker=tracker)
