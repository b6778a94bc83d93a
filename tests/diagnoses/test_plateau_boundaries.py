"""What a plateau schedule does at its thresholds, and where LR011 begins."""

from __future__ import annotations

from typing import Any

import pytest

from lrtrack.schedules import Schedule
from lrtrack.stats.diagnose.plateau import Plateau
from tests.diagnoses.test_boundaries import found


def plateau(values: list[float], **params: Any) -> Plateau:
    """What a plateau schedule does with some values."""
    replay = Plateau.of(Schedule("ReduceLROnPlateau", {"patience": 1, **params}))
    assert replay is not None
    replay.add(values)
    return replay


@pytest.mark.parametrize(
    ("values", "params", "better", "cuts"),
    [
        ([1.0, 0.9, 0.8], {}, 2, 0),
        ([1.0, 1.0, 1.0], {}, 0, 1),
        ([1.0, 1.0, 1.0, 1.0, 1.0], {}, 0, 2),
        ([1.0, 1.0, 1.0, 1.0, 1.0], {"patience": 3}, 0, 1),
        ([1.0, 1.0, 1.0, 1.0, 1.0, 1.0], {"cooldown": 1}, 0, 2),
        ([1.0, 1.0, 1.0, 1.0, 1.0], {"cooldown": 1}, 0, 1),
        ([1.0, 0.75, 0.5], {"threshold": 0.25}, 1, 0),
        ([1.0, 0.75, 0.5], {"threshold": 0.25, "threshold_mode": "abs"}, 1, 0),
        ([8.0, 7.0, 6.0], {"threshold": 1.5, "threshold_mode": "abs"}, 1, 0),
        ([1.0, 2.0, 3.0], {"mode": "max"}, 2, 0),
        ([1.0, 1.25, 1.5], {"mode": "max", "threshold": 0.25}, 1, 0),
        ([-1.0, -2.0], {}, 1, 0),
    ],
)
def test_the_replay_of_a_plateau(
    values: list[float], params: dict[str, Any], better: int, cuts: int
) -> None:
    """The replay decides as torch's class does, at its thresholds, too."""
    replay = plateau(values, **params)

    assert (len(values), better, cuts) == (replay.calls, replay.better, replay.cuts)


def test_the_defaults_of_a_plateau() -> None:
    """Without parameters, a plateau schedule waits for ten calls, and wants 1e-4 of the best."""
    replay = Plateau.of(Schedule("ReduceLROnPlateau", {}))
    assert replay is not None
    replay.add([1.0, 1.0 - 0.99e-4, *[1.0] * 9])

    assert replay.better == replay.cuts == 0
    replay.add([1.0])
    assert [replay.better, replay.cuts] == [0, 1]
    replay.add([1.0 - 1.01e-4])
    assert [replay.better, replay.cuts] == [1, 1]
    assert Plateau.of(Schedule("StepLR", {})) is None


@pytest.mark.parametrize(
    ("values", "progress"),
    [
        ([2.0, 1.0], (1, 0.5)),
        ([4.0, 2.0, 1.0], (1, 0.75)),
        ([4.0, 2.0, 1.0, 0.5], (2, 0.75)),
        ([8.0, 4.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0], (4, 0.5)),
    ],
)
def test_the_progress_of_a_plateau(values: list[float], progress: tuple[int, float]) -> None:
    """Progress is told since the last power of two in the first half of the calls."""
    assert progress == plateau(values).progress


PLATEAU = Schedule("ReduceLROnPlateau", {"patience": 9, "min_lr": 0.0, "factor": 0.1, "eps": 1e-8})


def measured(values: list[float], lr: float = 0.1) -> dict[str, list[float]]:
    """Records of a constant rate and a metric."""
    return {"lr": [lr] * len(values), "plateau_metric": values}


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        (4, None),
        (5, "the plateau schedule could not act: it takes at least 11 calls to exceed patience=9, "
         "and it was given its metric 5 times."),
        (10, "the plateau schedule could not act: it takes at least 11 calls to exceed patience=9, "
         "and it was given its metric 10 times."),
        (11, "the plateau schedule never cut the learning rate in 11 calls, although its metric "
         "improved by only 0.7 % since call 4: it got better at least every 10 calls."),
    ],
)  # fmt: skip
def test_a_plateau_that_never_acted(calls: int, message: str | None) -> None:
    """LR011 tells a schedule that had too few calls from one with too small a threshold."""
    metric = [1.0 - 0.001 * call for call in range(calls)]

    assert message == found(
        "LR011", schedule=PLATEAU, metrics=measured(metric), steps=20, moves=1, begun=0
    )
    assert found("LR011", schedule=PLATEAU, metrics=measured(metric), steps=19, moves=1) is None


def test_a_plateau_whose_cuts_do_nothing() -> None:
    """LR011 says why the cuts of a plateau schedule left the rate as it was."""
    flat = measured([1.0] * 20, lr=0.1)

    def message(**params: Any) -> str | None:
        schedule = Schedule("ReduceLROnPlateau", {**PLATEAU.params, **params})
        return found("LR011", schedule=schedule, metrics=flat, steps=20, moves=1)

    start = (
        "the plateau schedule was due to cut the learning rate 1 time, but the rate was never "
        "lower afterwards"
    )
    assert message() == f"{start}."
    assert message(min_lr=0.1) == f"{start}: it is not above min_lr=0.1."
    assert message(min_lr=[0.01, 0.2]) == f"{start}: it is not above min_lr=0.2."
    assert message(factor=0.5, eps=0.05) == f"{start}: the change of 0.05 does not exceed eps=0.05."
    assert message(factor=0.5, eps=0.049) == f"{start}."
    assert message(min_lr=0.09, eps=0.02) == (
        f"{start}: the change of 0.01 does not exceed eps=0.02."
    )
