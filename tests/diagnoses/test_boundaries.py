"""Where each diagnosis begins: the last case without it, and the first one with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from lrtrack.records import Run, State
from lrtrack.schedules import Schedule
from lrtrack.stats.diagnose import Observations, RunningStatistics, diagnose
from lrtrack.stats.diagnose.rule import share

COSINE = Schedule("CosineAnnealingLR", {"T_max": 100, "eta_min": 0.0})
ONE_CYCLE = Schedule("OneCycleLR", {"total_steps": 100, "max_lr": 0.1})


def found(
    code: str,
    *,
    schedule: Schedule = COSINE,
    metrics: Mapping[str, Sequence[float]] | None = None,
    state: State = State.FINISHED,
    total_steps: int | None = None,
    **observed: Any,
) -> str | None:
    """The message of a diagnosis; None if it is not made.

    Args:
        metrics: by name; None: a rate of 0.1 in 20 records.
        observed: attributes of the observations; none of them: only the records are known.
    """
    columns = {"lr": [0.1] * 20} if metrics is None else metrics
    statistics = RunningStatistics(schedule)
    arrays = {name: (np.array(values, dtype=float), None) for name, values in columns.items()}
    statistics.add(np.arange(max(map(len, columns.values()))), arrays)
    run = Run("a" * 32, "run", schedule=schedule, total_steps=total_steps)
    observations = Observations(**{"total": observed["steps"], **observed}) if observed else None
    diagnoses = diagnose(run, statistics, state, observations)
    return {one["code"]: one["message"] for one in diagnoses}.get(code)


def clipped(before: float, often: int, rest: int) -> dict[str, list[float]]:
    """Records with gradient norms that were clipped to 1 from `before`, and others."""
    return {
        "lr": [0.1] * (often + rest),
        "grad_norm": [1.0] * (often + rest),
        "grad_norm_preclip": [before] * often + [1.0] * rest,
    }


#: Code → what begins with it: the changes that take it away, and how the message begins.
NEVER_STEPPED = {"steps": 5, "begun": 0, "position": 0}
LITTLE_USED = {"steps": 20, "begun": 0, "position": 49, "used": 49, "moves": 20}
BEYOND = {"steps": 103, "begun": 0, "position": 103, "used": 103, "moves": 102}
USED_UP = {"steps": 106, "begun": 0, "position": 99, "used": 99, "moves": 99, "rested": 6}
FIRST = {"steps": 2, "early": 1, "position": 2, "used": 2, "moves": 2}
OFTEN = {"steps": 5, "moves": 5, "repeated": 3, "factor": 2}
SKIPPED = {"steps": 53, "skipped": 6, "position": 0}
MISSING = {"steps": 5, "unreached": ("a",)}
CASES: list[tuple[str, dict[str, Any], list[dict[str, Any]]]] = [
    ("LR001", NEVER_STEPPED, [
        {"steps": 4}, {"moves": 1}, {"position": 1}, {"begun": 1, "position": 1},
        {"begun": None, "position": None}, {"state": State.FAILED},
        {"schedule": Schedule("constant")}, {"metrics": {"lr": [0.1, 0.2]}},
    ]),
    ("LR001", {**NEVER_STEPPED, "begun": -1, "position": -1}, []),
    ("LR002", LITTLE_USED, [
        {"position": 50}, {"position": 0}, {"position": None}, {"total": 19},
        {"state": State.FAILED}, {"schedule": Schedule("ExponentialLR", {"gamma": 0.9})},
    ]),
    ("LR003", BEYOND, [{"used": 102}, {"schedule": Schedule("LinearLR", {"total_iters": 5})}]),
    ("LR003", {**BEYOND, "state": State.RUNNING}, [{"used": 102}]),
    ("LR003", {**BEYOND, "schedule": Schedule("CosineAnnealingLR", {"T_max": 20}), "used": 22}, [
        {"used": 21},
    ]),
    ("LR003", {**USED_UP, "schedule": ONE_CYCLE}, [{"rested": 5}, {"position": 98}]),
    ("LR003", {"schedule": ONE_CYCLE, "steps": 9, "position": 101}, [{"position": 100}]),
    ("LR003", {
        **USED_UP, "schedule": Schedule("OneCycleLR", {"total_steps": 500}),
        "position": 499, "rested": 11,
    }, [{"rested": 10}]),
    ("LR005", FIRST, [
        {"steps": 1}, {"early": 0}, {"early": 2}, {"position": 3}, {"state": State.FAILED},
    ]),
    ("LR005", {**FIRST, "early": 2, "factor": 2}, [{"factor": 1}]),
    ("LR012", OFTEN, [{"steps": 4}, {"steps": 6}, {"repeated": 2}, {"skipped": 1}]),
    ("LR012", {**OFTEN, "state": State.RUNNING, "steps": 20, "repeated": 11}, [
        {"steps": 19}, {"repeated": 10},
    ]),
    ("LR012", {**OFTEN, "position": 89, "used": 89}, [{"position": 90}]),
    ("LR012", {**OFTEN, "position": 49, "used": 49, "world_size": 2}, [{"position": 50}]),
    ("LR012", {**OFTEN, "position": 89, "used": 89, "world_size": 3}, [{"position": 90}]),
    ("LR012", {**OFTEN, "position": 103, "used": 103}, [{"used": 102}]),
    ("LR026", SKIPPED, [{"steps": 54}, {"skipped": 5}, {"state": State.RUNNING}]),
    ("LR004", {"metrics": {"lr": [0.1] * 18 + [0.0] * 2}}, [
        {"metrics": {"lr": [0.1] * 19 + [0.0]}}, {"metrics": {"lr": [0.1] * 17 + [0.0] * 2}},
        {"state": State.RUNNING},
    ]),
    ("LR004", {"metrics": {"lr": [0.1] * 38 + [0.0] * 3}}, [
        {"metrics": {"lr": [0.1] * 38 + [0.0] * 2}},
    ]),
    ("LR004", {"metrics": {"lr": [0.1] * 20, "lr/a": [0.1] * 20, "lr/b": [0.1] * 18 + [0.0] * 2}}, [
        {"metrics": {"lr": [0.1] * 20, "lr/a": [0.1] * 20, "lr/b": [0.1] * 19 + [0.0]}},
    ]),
    ("LR007", {"metrics": clipped(10.01, 11, 9)}, [
        {"metrics": clipped(10.01, 10, 10)}, {"metrics": clipped(10.0, 20, 0)},
        {"metrics": clipped(11.0, 19, 0)}, {"state": State.RUNNING},
    ]),
    ("LR008", MISSING, [{"steps": 4}, {"unreached": ()}]),
    ("LR008", {**MISSING, "state": State.RUNNING, "steps": 100}, [{"steps": 99}]),
    ("LR009", {"metrics": {"lr": [0.1] * 60, "grad_norm": [1.0] * 59 + [100.0]}}, [
        {"metrics": {"lr": [0.1] * 60, "grad_norm": [1.0] * 59 + [99.9]}},
    ]),
    ("LR009", {"metrics": {"lr": [0.1] * 3000, "grad_norm": ([1.0] * 999 + [11.0]) * 3}}, [
        {"metrics": {"lr": [0.1] * 3001, "grad_norm": ([1.0] * 999 + [11.0]) * 3 + [1.0]}},
        {"metrics": {"lr": [0.1] * 2000, "grad_norm": ([1.0] * 999 + [11.0]) * 2}},
    ]),
    ("LR010", {"steps": 5}, [
        {"steps": 4}, {"taken": 1}, {"loss_wanted": False}, {"metrics": {"lr": [0.1] * 4}},
        {"metrics": {"lr": [0.1] * 5, "loss": [1.0] * 5}},
    ]),
    ("LR010", {"steps": 100, "state": State.RUNNING}, [{"steps": 99}]),
]  # fmt: skip


@pytest.mark.parametrize(("code", "case", "changes"), CASES, ids=[case[0] for case in CASES])
def test_where_a_diagnosis_begins(
    code: str, case: dict[str, Any], changes: list[dict[str, Any]]
) -> None:
    """A diagnosis is made of the least case, and of none that lacks a little of it."""
    without = [found(code, **{**case, **change}) for change in changes]

    assert found(code, **case) is not None
    assert [None] * len(changes) == without


STEADY = {"steps": 20, "begun": 0, "position": 20, "used": 20, "moves": 20}
SHORT = Schedule("CosineAnnealingLR", {"T_max": 49})
WARM_UP = Schedule("LinearLR", {"start_factor": 0.1, "end_factor": 1.0, "total_iters": 101})


@pytest.mark.parametrize(
    ("code", "case", "changes"),
    [
        ("LR028", {**STEADY, "schedule": SHORT}, [
            {"schedule": Schedule("CosineAnnealingLR", {"T_max": 50})}, {"total_steps": None},
            {"moves": 2}, {"total": 19}, {"position": None}, {"begun": 20}, {"rested": 20},
            {"schedule": Schedule("StepLR", {"step_size": 49, "gamma": 0.1})},
        ]),
        ("LR028", {**STEADY, "schedule": SHORT, "moves": 3}, []),
        # 19 of 20 may be a moment between the two steps, and 18 of 20 are another pace
        ("LR028", {**STEADY, "schedule": SHORT, "position": 19}, [{"position": 18}]),
        ("LR028", {
            **STEADY, "schedule": Schedule("CosineAnnealingLR", {"T_max": 99}), "position": 40,
        }, [{"schedule": COSINE}]),
        ("LR002", {
            **STEADY, "schedule": Schedule("CosineAnnealingLR", {"T_max": 201}),
        }, [
            {"schedule": Schedule("CosineAnnealingLR", {"T_max": 200})}, {"total_steps": 101},
            {"schedule": Schedule("StepLR", {"step_size": 201, "gamma": 0.1})},
        ]),
        ("LR027", {**STEADY, "schedule": WARM_UP}, [
            {"total_steps": 101}, {"position": 9}, {"moves": 2},
            {"schedule": Schedule(
                "LinearLR", {"start_factor": 1.0, "end_factor": 1.0, "total_iters": 101}
            )},
        ]),
        ("LR027", {**STEADY, "schedule": WARM_UP, "position": 10}, []),
    ],
    ids=["LR028", "at once", "a step behind", "at twice the pace", "LR002", "LR027", "at half"],
)  # fmt: skip
def test_where_a_forecast_begins(
    code: str, case: dict[str, Any], changes: list[dict[str, Any]]
) -> None:
    """A forecast is made of the first schedule that does not fit, and of none that still does."""
    running = {"state": State.RUNNING, "total_steps": 100, **case}

    assert found(code, **running) is not None
    assert [None] * len(changes) == [found(code, **{**running, **change}) for change in changes]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ({"total_steps": 100},
         "at this pace, CosineAnnealingLR ends at step 49 of 100; its length is T_max=49."),
        ({"total_steps": 400, "position": 40, "world_size": 2},
         "at this pace, CosineAnnealingLR ends at step 24 of 400 (2 scheduler steps per optimizer "
         "step; 2 processes); its length is T_max=49."),
        ({"total_steps": 400, "position": 40},
         "at this pace, CosineAnnealingLR ends at step 24 of 400 (2 scheduler steps per optimizer "
         "step); its length is T_max=49."),
        ({"total_steps": 400, "position": 26},  # 26 / 20 is less than 1.5
         "at this pace, CosineAnnealingLR ends at step 38 of 400; its length is T_max=49."),
        ({"total_steps": 400, "total": 120, "begun": 10, "position": 30},
         "at this pace, CosineAnnealingLR ends at step 139 of 400; its length is T_max=49."),
        ({"state": State.FINISHED, "steps": 120, "position": 120},
         "CosineAnnealingLR ended at step 49 of 120; its length is T_max=49."),
    ],
)  # fmt: skip
def test_when_a_schedule_is_over(case: dict[str, Any], message: str) -> None:
    """LR028 says at which step a schedule is over, at which pace, and in how many processes."""
    given = {"state": State.RUNNING, "schedule": SHORT, **STEADY, **case}

    assert found("LR028", **given) == message


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ({"steps": 125, "position": 10},
         "CosineAnnealingLR was stepped only every 12 optimizer steps, as if per epoch, but its "
         "length is about the number of optimizer steps: it used 10 % of its length (T_max=100) in "
         "125 optimizer steps."),
        ({"steps": 80, "position": 10},
         "CosineAnnealingLR was stepped only every 8 optimizer steps, as if per epoch, but its "
         "length is about the number of optimizer steps: it used 10 % of its length (T_max=100) in "
         "80 optimizer steps."),
        ({"steps": 126, "position": 10},
         "CosineAnnealingLR used 10 % of its length (T_max=100): it was stepped only every 13 "
         "optimizer steps, as if per epoch, and its count reached 10."),
        ({"steps": 79, "position": 10},
         "CosineAnnealingLR used 10 % of its length (T_max=100): it was stepped only every 8 "
         "optimizer steps, as if per epoch, and its count reached 10."),
        ({"steps": 20, "position": 11},
         "CosineAnnealingLR used 11 % of its length (T_max=100): its count reached 11 in 20 "
         "optimizer steps."),
        ({"total": 20, "steps": 2, "begun": 9, "position": 10},
         "CosineAnnealingLR used 10 % of its length (T_max=100): it was stepped only every 2 "
         "optimizer steps, as if per epoch, and its count reached 10."),
        ({"steps": 20, "begun": 10, "position": 20},
         "CosineAnnealingLR used 20 % of its length (T_max=100): it was stepped only every 2 "
         "optimizer steps, as if per epoch, and its count reached 20."),
    ],
)  # fmt: skip
def test_how_little_of_a_schedule_was_used(case: dict[str, Any], message: str) -> None:
    """LR002 tells a scheduler that is stepped per epoch from one that is too long."""
    assert found("LR002", **{"moves": 10, "begun": 0, **case}) == message


def test_restarts_that_are_stepped_per_epoch() -> None:
    """LR002 is not made of warm restarts stepped per epoch, unless their length is in steps."""
    restarts = Schedule("CosineAnnealingWarmRestarts", {"T_0": 100})

    assert found("LR002", schedule=restarts, steps=79, begun=0, position=10) is None
    assert found("LR002", schedule=restarts, steps=80, begun=0, position=10) is not None


@pytest.mark.parametrize(
    ("steps", "skipped", "message"),
    [
        (0, 6, "the gradient scaler skipped all 6 steps, because"),
        (4, 6, "the gradient scaler skipped 6 of 10 steps, because"),
    ],
)
def test_how_many_steps_were_skipped(steps: int, skipped: int, message: str) -> None:
    """LR026 says how many of all tries were skipped."""
    text = found("LR026", steps=steps, skipped=skipped)

    assert text is not None
    assert text.startswith(message)


def test_which_groups_are_not_reached() -> None:
    """LR008 names up to five groups."""
    five, six = tuple("abcde"), tuple("abcdef")

    assert found("LR008", steps=9, unreached=five) == (
        "param groups a, b, c, d, e never received a gradient in 9 optimizer steps."
    )
    assert found("LR008", steps=9, unreached=six) == (
        "param groups a, b, c, d, e, … never received a gradient in 9 optimizer steps."
    )


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 7, "0 %"), (1, 101, "under 1 %"), (1, 100, "1 %"), (994, 1000, "99 %"),
        (995, 1000, "over 99 %"), (999, 1000, "over 99 %"), (7, 7, "100 %"), (1, 3, "33 %"),
    ],
)  # fmt: skip
def test_shares(part: int, whole: int, text: str) -> None:
    """A share of some is never 0 %, and one of less than all never 100 %."""
    assert share(part, whole) == text
