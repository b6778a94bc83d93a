"""Runs whose journal has no end get the schedule that their records show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lrtrack.journal import unended
from lrtrack.journal.course import Course
from lrtrack.journal.unended import completed
from lrtrack.records import FIND, Run, default_name
from lrtrack.schedules import Schedule, infer_schedule, side_by_side

STEPS = np.arange(200)
HALVING = 0.1 * 0.5 ** (STEPS // 50)
LABEL = "≈ step(gamma=0.5, steps=50)"


def course_of(**columns: np.ndarray) -> Course:
    """Return a journal's course with these columns, whose names have `_` for `/`."""
    named = {name.replace("_", "/"): pa.array(values) for name, values in columns.items()}
    table = pa.table({"step": pa.array(STEPS), "time": pa.array(STEPS.astype(float)), **named})
    return Course(table, None)


def run_of(schedule: Schedule | None = None, **options: Any) -> Run:
    """Return a run that is called as lrtrack calls it."""
    schedule = schedule or Schedule("constant")
    options = {"name": default_name("", schedule.name, 3), "seed": 3, **options}
    return Run("a" * 32, schedule=schedule, **options)


def test_a_rate_that_moved_without_a_scheduler() -> None:
    """Schedule and default name are those of the rates."""
    run = completed(run_of(), course_of(lr=HALVING))

    assert run.schedule.label == LABEL
    assert run.name == "step-seed3"


def test_a_name_of_the_user_stays() -> None:
    """Only names that lrtrack made change."""
    assert completed(run_of(name="mine"), course_of(lr=HALVING)).name == "mine"


@pytest.mark.parametrize(
    ("run", "rates"),
    [
        (run_of(), np.full(200, 0.1)),
        (run_of(), np.full(200, np.nan)),
        (run_of(Schedule("StepLR", {"step_size": 50})), HALVING),
        (run_of(kind=FIND), HALVING),
    ],
    ids=["constant", "not a number", "with a scheduler", "range test"],
)
def test_what_stays_as_it_is(run: Run, rates: np.ndarray) -> None:
    """A run is only described anew if its rate moved and nothing says why."""
    assert completed(run, course_of(lr=rates)) == run


def test_one_of_two_optimizers() -> None:
    """The part without a scheduler is inferred, the other stays."""
    cosine = Schedule("CosineAnnealingLR", {"T_max": 200})
    run = run_of(side_by_side({"a": cosine, "b": Schedule("constant")}))
    shown = completed(run, course_of(lr=HALVING, lr_a=HALVING, lr_b=HALVING)).schedule

    assert shown.label == f"≈ CosineAnnealingLR + step(a=CosineAnnealingLR(T_max=200), b={LABEL})"


def test_two_optimizers_without_schedulers() -> None:
    """Optimizers are known by their names in the run's description."""
    optimizer = {"name": "SGD + SGD", "a.name": "SGD", "b.name": "SGD"}
    run = run_of(optimizer=optimizer, prefix="")
    shown = completed(run, course_of(lr=HALVING, lr_a=HALVING, lr_b=np.full(200, 0.1))).schedule

    assert shown.label == f"≈ step + constant(a={LABEL}, b=constant)"


@pytest.mark.parametrize(("most", "stride"), [(200, 1), (199, 2), (100, 2), (99, 3)])
def test_how_many_rates_are_looked_at(
    monkeypatch: pytest.MonkeyPatch, most: int, stride: int
) -> None:
    """Of many rates, each second or third one shows the schedule, from the first one on."""
    seen: list[list[int]] = []

    def infer(rates: np.ndarray, steps: np.ndarray) -> Any:
        seen.append(steps.tolist())
        return infer_schedule(rates, steps)

    monkeypatch.setattr(unended, "_MOST", most)
    monkeypatch.setattr(unended, "infer_schedule", infer)
    completed(run_of(), course_of(lr=HALVING))

    assert seen == [list(range(0, 200, stride))]
