"""LR027, LR028 and the early LR002: schedules that will not fit the training."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from lrtrack.records import Run, State
from lrtrack.schedules import Schedule
from lrtrack.stats.diagnose import Observations, RunningStatistics, diagnose

from ..fixtures.isolation import PATIENCE

CODES = ("LR002", "LR027", "LR028")
RISING = {"name": "LinearLR", "start_factor": 0.1, "end_factor": 1.0, "total_iters": 2000}


def cosine(length: int) -> Schedule:
    """Return a half cosine of this length."""
    return Schedule("CosineAnnealingLR", {"T_max": length})


def onecycle(length: int) -> Schedule:
    """Return a cycle of this length."""
    return Schedule("OneCycleLR", {"total_steps": length})


def polynomial(length: int) -> Schedule:
    """Return a decay of this length, after which the rate stays."""
    return Schedule("PolynomialLR", {"total_iters": length})


def warmup(length: int) -> Schedule:
    """Return a schedule of transformers that is constant after a warm-up of this length."""
    return Schedule("LambdaLR", {"num_warmup_steps": length})


def sequence(milestone: int) -> Schedule:
    """Return a linear warm-up that ends at this milestone, with a cosine of 1,000 after it."""
    parts = [RISING, {"name": "CosineAnnealingLR", "T_max": 1000}]
    return Schedule("SequentialLR", {"schedulers": parts, "milestones": [milestone]})


def messages(
    schedule: Schedule, planned: int | None, state: State = State.RUNNING, **facts: Any
) -> dict[str, str]:
    """The messages about a schedule's length by code, after `steps` steps of `planned`."""
    facts = {"begun": 0, "moves": facts["steps"], "total": facts["steps"], **facts}
    run = Run("a" * 32, "run", schedule=schedule, total_steps=planned)
    diagnoses = diagnose(run, RunningStatistics(schedule), state, Observations(**facts))
    return {one["code"]: one["message"] for one in diagnoses if one["code"] in CODES}


def test_a_schedule_that_will_be_over_early() -> None:
    """LR028 names the step of the end, the pace and the processes that explain it."""
    facts = {"steps": 100, "position": 800, "world_size": 8}

    assert messages(onecycle(40_000), 40_000, **facts) == {
        "LR028": "at this pace, OneCycleLR ends at step 5,000 of 40,000 (8 scheduler steps per "
        "optimizer step; 8 processes); its length is total_steps=40000."
    }
    assert messages(onecycle(320_000), 40_000, **facts) == {}
    assert messages(onecycle(40_000), None, **facts) == {}


def test_a_schedule_that_was_over_early() -> None:
    """LR028 at the end of the training counts the steps that were made, not those planned."""
    facts = {"steps": 1000, "position": 1000, "used": 999}

    assert messages(polynomial(100), 50, State.FINISHED, **facts) == {
        "LR028": "PolynomialLR ended at step 100 of 1,000; its length is total_iters=100."
    }
    assert messages(polynomial(1000), 50, State.FINISHED, **facts) == {}
    assert messages(polynomial(100), 5000, State.FAILED, **facts) == {}


def test_a_resumed_schedule_is_forecast_from_where_it_was() -> None:
    """LR028 counts the steps of earlier blocks, and the scheduler's count when this one began."""
    facts = {"steps": 100, "total": 600, "begun": 500, "position": 600}

    assert messages(cosine(900), 2000, **facts) == {
        "LR028": "at this pace, CosineAnnealingLR ends at step 900 of 2,000; its length is "
        "T_max=900."
    }
    assert messages(cosine(2000), 2000, **facts) == {}


def test_a_schedule_of_which_little_will_be_used() -> None:
    """LR002 before the end says how much of the schedule the training will use."""
    facts = {"steps": 100, "position": 100}

    assert messages(cosine(40_000), 4000, **facts) == {
        "LR002": "at this pace, CosineAnnealingLR will have used 10 % of its length "
        "(T_max=40000) at the end of the training, step 4,000."
    }
    assert messages(cosine(4000), 4000, **facts) == {}


@pytest.mark.parametrize("schedule", [warmup, sequence])
def test_a_warm_up_longer_than_the_training(schedule: Any) -> None:
    """LR027 compares the warm-up with the training, and takes the place of LR002."""
    assert messages(schedule(2000), 1000, steps=100, position=100) == {
        "LR027": "the warm-up of 2,000 scheduler steps is longer than the training, which makes "
        "1,000: the learning rate never reaches its peak."
    }
    assert messages(schedule(100), 1000, steps=100, position=100) == {}


def test_a_warm_up_that_was_longer_than_the_training() -> None:
    """LR027 of a finished training counts the steps that it made."""
    facts = {"steps": 200, "position": 200, "used": 199}

    assert messages(warmup(500), None, State.FINISHED, **facts) == {
        "LR027": "the warm-up of 500 scheduler steps is longer than the training, which makes 200: "
        "the learning rate never reaches its peak."
    }
    assert messages(warmup(50), None, State.FINISHED, **facts) == {}


def test_a_schedule_of_epochs_that_fits() -> None:
    """A scheduler that moves once an epoch is measured over whole epochs."""
    facts = {"steps": 450, "position": 4, "moves": 4, "rested": 50}

    assert messages(cosine(10), 1000, **facts) == {}
    assert messages(cosine(10), 10_000, **facts) == {
        "LR028": "at this pace, CosineAnnealingLR ends at step 1,000 of 10,000; its length is "
        "T_max=10."
    }


@pytest.mark.parametrize(
    "facts",
    [
        {"steps": 19, "position": 190},  # too few steps
        {"steps": 100, "position": 800, "moves": 2},  # too few moves
        {"steps": 100, "position": None},  # no count that can be read
        {"steps": 100, "begun": 50, "position": 50},  # a state loaded in the block
        {"steps": 100, "begun": 50, "position": 20},
    ],
)
def test_nothing_is_forecast_without_a_pace(facts: dict[str, Any]) -> None:
    """A pace that is not clear yet, or not forward, is no ground for a forecast."""
    assert messages(onecycle(40_000), 40_000, **facts) == {}


COUNT = st.integers(-3, 10**9) | st.integers(-3, 30)


@given(
    st.sampled_from([cosine, onecycle, polynomial, warmup, sequence]),
    COUNT,
    COUNT | st.none(),
    st.sampled_from(list(State)),
    st.fixed_dictionaries(
        dict.fromkeys(("steps", "total", "used", "moves", "rested", "world_size"), COUNT)
        | {name: COUNT | st.none() for name in ("begun", "position")}
    ),
)
@settings(max_examples=100, deadline=None)
def test_no_counts_make_a_forecast_fail(
    schedule: Any, length: int, planned: int | None, state: State, facts: dict[str, Any]
) -> None:
    """Whatever was counted, the rules return texts and raise nothing."""
    texts = messages(schedule(length), planned, state, **facts).values()

    assert all(type(text) is str for text in texts)


def test_a_scheduler_that_each_process_steps(training, track) -> None:
    """LR028 is known in a training of 40,000 steps after a few, with about the right end."""
    task = training()
    scheduler = OneCycleLR(task.optimizer, 0.1, total_steps=40_000)
    deadline, reports = time.monotonic() + PATIENCE, []
    with track(task.optimizer, scheduler, total_steps=40_000) as run:
        while not reports:
            assert time.monotonic() < deadline
            task.step()
            for _ in range(8):
                scheduler.step()
            reports = [one["message"] for one in run.diagnoses if one["code"] == "LR028"]
            time.sleep(0.001)
        steps = run.step + 1
    (end,) = re.findall(r"OneCycleLR ends at step ([\d,]+) of 40,000 \(", reports[0])

    # The facts may be read between a step and those of the scheduler: after 20 steps at least.
    assert 5000 / 1.06 < int(end.replace(",", "")) < 5000 * 1.06
    assert steps < 5000


def test_a_cosine_over_its_epochs(training, track) -> None:
    """A cosine of ten epochs in a training of ten epochs is reported at no time."""
    task = training()
    scheduler = CosineAnnealingLR(task.optimizer, 10)
    codes: list[str] = []
    options = {"total_steps": 300, "on_diagnosis": lambda one: codes.append(one["code"])}
    with track(task.optimizer, scheduler, **options):
        for _ in range(10):
            task.run(30, lambda step: time.sleep(0.002))
            scheduler.step()

    assert codes == []
