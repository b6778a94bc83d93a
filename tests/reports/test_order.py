"""The order of a report's rows by a field."""

from __future__ import annotations

import pytest

import lrtrack
from lrtrack import Comparison, History
from lrtrack.errors import UsageError
from lrtrack.reports.formats import render
from lrtrack.reports.order import by_field, runs_by_field


def run(steps: int, final: float, seed: int, **config: object) -> History:
    """A run of a StepLR that ends at `final`."""
    schedule = lrtrack.Schedule("StepLR", {"step_size": steps})
    rates = {"loss": [3.0, final], "lr": [steps / 10, 0.1]}
    return History.from_series(schedule, rates, seed=seed, config=config, name=f"{steps}-{seed}")


@pytest.fixture
def comparison() -> Comparison:
    """Three schedules, of which the one with step size 9 is the best and that with 10 the worst."""
    runs = [run(9, 0.1, 0), run(9, 0.2, 1), run(2, 0.5, 0), run(10, 0.9, 0), run(10, 0.8, 1)]
    return lrtrack.compare(histories=runs, metric="loss")


def sizes(comparison: Comparison) -> list[object]:
    """The step sizes of the schedules, in their order."""
    return [item.params["step_size"] for item in comparison.schedules]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("rank", [9, 2, 10]), ("-rank", [10, 2, 9]), ("step_size", [2, 9, 10]),
        ("-params.step_size", [10, 9, 2]), ("lr_peak", [2, 9, 10]), ("-final", [10, 2, 9]),
        ("runs", [2, 9, 10]), ("-runs", [9, 10, 2]), ("label", [10, 2, 9]),
        ("steps_to_target", [9, 2, 10]),
    ],
)  # fmt: skip
def test_schedules(comparison: Comparison, field: str, expected: list[int]) -> None:
    """Numbers order as numbers, equal ones keep the order of ranks, and missing ones come last."""
    ordered = by_field(comparison, field)

    assert sizes(ordered) == expected
    assert [item.rank for item in ordered.schedules] == [
        {9: 1, 2: 2, 10: 3}[size] for size in expected
    ]
    assert [history.run.schedule.params["step_size"] for history in ordered.histories] == [
        size for size in expected for _ in range(1 if size == 2 else 2)
    ]
    assert [run.run_id for run in ordered.runs] == [
        run_id for item in ordered.schedules for run_id in item.run_ids
    ]


def test_the_conclusion_stays(comparison: Comparison) -> None:
    """The headline names the best schedule, whichever row it is in."""
    ordered = by_field(comparison, "-rank")

    assert ordered.headline == comparison.headline
    for form in ("table", "markdown", "csv", "html", "svg"):
        assert render(ordered, form)


def test_an_unknown_field(comparison: Comparison) -> None:
    """The error lists figures and parameters."""
    with pytest.raises(UsageError, match=r"Unknown field to sort by 'fnal'.*'final'.*step_size"):
        by_field(comparison, "-fnal")


def test_runs() -> None:
    """Runs order by their fields, by a bare setting, and by their final value."""
    runs = [run(1, 0.3, 2, depth="10"), run(1, 0.1, 0, depth=9), run(1, 0.2, 1)]

    def order(field: str) -> list[int | None]:
        return [history.run.seed for history in runs_by_field(runs, field, "loss")]

    assert order("seed") == [0, 1, 2]
    assert order("-final") == [2, 1, 0]
    assert order("depth") == [0, 2, 1]
    assert order("-config.depth") == [2, 0, 1]
    assert order("steps") == [2, 0, 1]
    for field in ("", "-", "nothing"):
        with pytest.raises(UsageError, match="Unknown field to sort by"):
            order(field)
