"""What is gathered for the rules (layers, plateaus, settings, lengths), and a hint from it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lrtrack.records import Run, State
from lrtrack.schedules import Schedule, side_by_side
from lrtrack.stats.diagnose import Observations, RunningStatistics, diagnose, shown_in
from lrtrack.stats.diagnose.evidence import Layers
from lrtrack.stats.diagnose.forecasts import _warmup
from lrtrack.stats.diagnose.plateau import Plateau
from lrtrack.stats.diagnose.setup import Setup, setup_of


def test_the_typical_norm_of_a_layer() -> None:
    """It is the geometric mean of a weight's norms above 0 from the eleventh record on."""
    layers = Layers()
    for rows in (slice(0, 4), slice(4, 14)):
        norms = np.array([7.0] * 10 + [1.0, 0.0, 100.0, np.nan])[rows]
        few = np.array([7.0] * 10 + [1e-3, 5.0, 5.0, 1e-3])[rows]
        there = np.array([True] * 11 + [False, False, True])[rows]
        columns = {
            "grad_norm/a.weight": (norms, None),
            "grad_norm/b.weight": (few, there),
            "grad_norm/b.bias": (norms, None),
            "loss": (norms, None),
        }
        layers.add(columns, "grad_norm/")

    assert layers.typical(2) == pytest.approx({"a.weight": 10.0, "b.weight": 1e-3})
    assert layers.typical(3) == {}


def test_what_follows_the_cuts_of_a_plateau() -> None:
    """A cut is judged by the next rate that is recorded, and by no rate before it."""
    replay = Plateau.of(Schedule("ReduceLROnPlateau", {"patience": 0}))
    assert replay is not None
    nan = math.nan

    def follow(values: list[float], fallen: list[float]) -> tuple[int, int, int]:
        array = np.array(values)
        replay.follow(array, ~np.isnan(array), np.array(fallen))
        return replay.cuts, replay.judged, replay.done

    assert follow([nan, 1.0, nan], [1.0, 1.0, 1.0]) == (0, 0, 0)
    assert follow([1.0, nan, nan], [0.0, nan, 1.0]) == (1, 1, 1)
    assert follow([1.0, nan, nan], [0.0, nan, nan]) == (2, 1, 1)
    assert follow([nan, nan, 1.0], [nan, 0.0, 1.0]) == (3, 2, 1)
    assert follow([nan, 0.5, 1.0], [1.0, 0.0, 0.0]) == (4, 3, 2)


@pytest.mark.parametrize(
    ("config", "classes"),
    [
        ({"num_classes": 2}, 2),
        ({"num_classes": 1}, None),
        ({"num_classes": 10_000_000}, 10_000_000),
        ({"num_classes": 10_000_001}, None),
        ({"num_classes": True}, None),
        ({"model": {"N_Classes": 10}, "data": {"classes": 10}}, 10),
        ({"model": {"n_classes": 10}, "data": {"classes": 20}}, None),
        ({"model": {"widths": 10}}, None),
    ],
)
def test_how_many_classes_there_are(config: dict[str, Any], classes: int | None) -> None:
    """A number of classes is used if the settings state one, and no other."""
    assert setup_of(Run("a" * 32, "run", config=config)) == Setup(None, classes, True)


def test_the_optimizer_of_a_setup() -> None:
    """The rate is that of the optimizer by name; one with a prefix is not alone."""
    run = Run("a" * 32, "run", optimizer={"lr": 1, "b.lr": 0.5, "c.lr": True}, prefix="g/")

    assert setup_of(run) == Setup(1.0, None, False)
    assert setup_of(run, "b") == Setup(0.5, None, False)
    assert setup_of(run, "c") == Setup(None, None, False)
    assert setup_of(Run("a" * 32, "run"), several=True) == Setup(None, None, False)
    assert Setup(classes=10).guess == pytest.approx(math.log(10.0))
    assert Setup().guess is None


RISES = {"name": "LinearLR", "start_factor": 0.1, "end_factor": 1.0, "total_iters": 7}


@pytest.mark.parametrize(
    ("data", "steps"),
    [
        (RISES, 7),
        ({**RISES, "start_factor": 1.0}, None),
        ({**RISES, "start_factor": "x"}, None),
        ({**RISES, "start_factor": None}, None),
        ({**RISES, "total_iters": None}, None),
        ({"name": "LinearLR"}, None),
        ({"name": "StepLR"}, None),
        ({"name": "LambdaLR", "num_warmup_steps": 5}, 5),
        ({"name": "LambdaLR", "num_warmup_steps": "five"}, None),
        ({"name": "SequentialLR", "schedulers": [RISES, {}], "milestones": [9, 20]}, 9),
        ({"name": "SequentialLR", "schedulers": [{"name": "StepLR"}], "milestones": [9]}, None),
        ({"name": "SequentialLR", "schedulers": [RISES], "milestones": []}, None),
        ({"name": "SequentialLR", "schedulers": [], "milestones": [9]}, None),
        ({"name": "SequentialLR", "schedulers": [5], "milestones": [9]}, None),
        ({"name": "SequentialLR", "schedulers": 5, "milestones": [9]}, None),
        ({}, None),
    ],
)
def test_how_long_a_warm_up_is(data: dict[str, Any], steps: int | None) -> None:
    """The length of a warm-up is read from torch's parameters; from any others there is none."""
    assert _warmup(data) == steps


@pytest.mark.parametrize(
    ("schedule", "ending"),
    [
        (Schedule("StepLR", {"step_size": 9}), ". Ignore this if its length counts batches"),
        (Schedule("LambdaLR", {}), "batch or param group"),
    ],
)
def test_what_a_length_may_count(schedule: Schedule, ending: str) -> None:
    """LR012 says that a length may count batches, where the schedule has one."""
    records = RunningStatistics(schedule)
    records.add(np.arange(9), {"lr": (np.full(9, 0.1), None)})
    observed = Observations(steps=9, total=9, moves=9, repeated=9, factor=2)
    found = diagnose(Run("a" * 32, "run", schedule=schedule), records, State.FINISHED, observed)
    (hint,) = (one["hint"] for one in found if one["code"] == "LR012")

    assert hint.endswith(ending)


def test_what_the_records_of_two_optimizers_show() -> None:
    """The records of each optimizer are judged by its own schedule, in one part or in several."""
    rising = Schedule("CosineAnnealingLR", {"T_max": 9, "eta_min": 0.2})
    falling = Schedule("CosineAnnealingLR", {"T_max": 9, "eta_min": 0.0})
    run = Run("a" * 32, "run", schedule=side_by_side({"a": falling, "b": rising}))
    rates = (np.full(9, 0.1), None)
    columns = {"lr": rates, "lr/a": rates, "lr/b": rates}
    parts = [(np.arange(begin, begin + 9), columns, None) for begin in (0, 9)]

    for records in (parts[:1], parts):
        (found,) = (one for one in shown_in(run, State.FAILED, records) if one["code"] == "LR017")
        assert found["message"].startswith("b: eta_min=0.2 is above the learning rate")
