"""Any optimizer, any scheduler, any loop: both trackers hold the truth, all of it, and once."""

from __future__ import annotations

import pytest

from . import optimizer_cases, scheduler_cases
from .cases import CASES, Case
from .delivered import TRACKERS, Delivered, expected


@pytest.mark.parametrize("tracker", TRACKERS)
@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.name.replace(" ", "-"))
def test_what_arrives(case: Case, tracker: str, request: pytest.FixtureRequest) -> None:
    """Every run of the case has the metrics that are true of it, at the steps they are of."""
    if case.missing:
        pytest.skip(f"needs {', '.join(case.missing)}")
    delivered: Delivered = request.getfixturevalue("delivered")
    if case.name in delivered.failures:
        pytest.fail(f"the loop failed:\n{delivered.failures[case.name]}", pytrace=False)
    truths = delivered.truths[case.name]
    found = {truth.name: delivered.found[tracker].get(truth.name) for truth in truths}

    assert expected(truths) == found


def test_there_are_enough() -> None:
    """The suite is as wide as was promised."""
    assert len(CASES) >= 80


def test_every_optimizer_of_torch_has_a_row() -> None:
    """A class that a later torch brings fails here until it has a case."""
    assert set(optimizer_cases.known()) <= {*optimizer_cases.ROWS, "Optimizer"}


def test_every_scheduler_of_torch_has_a_row() -> None:
    """Likewise for schedulers."""
    assert set(scheduler_cases.known()) <= {*scheduler_cases.ROWS}
