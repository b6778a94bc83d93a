"""Any optimizer, any scheduler, any loop: both trackers hold the truth, all of it, and once.

And no diagnosis that the loop has not earned.
"""

from __future__ import annotations

import pytest

from . import optimizer_cases, scheduler_cases
from .cases import CASES, Case
from .delivered import TRACKERS, Delivered, expected
from .truth import Truth


@pytest.mark.parametrize("tracker", TRACKERS)
@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.name.replace(" ", "-"))
def test_what_arrives(case: Case, tracker: str, request: pytest.FixtureRequest) -> None:
    """Every run has the metrics that are true of it, at their steps, and its diagnoses."""
    if case.missing:
        pytest.skip(f"needs {', '.join(case.missing)}")
    delivered: Delivered = request.getfixturevalue("delivered")
    if case.name in delivered.failures:
        pytest.fail(f"the loop failed:\n{delivered.failures[case.name]}", pytrace=False)
    truths = delivered.truths[case.name]
    found = {truth.name: delivered.found[tracker].get(truth.name) for truth in truths}
    told = {truth.name: delivered.told[tracker].get(truth.name) for truth in truths}

    assert expected(truths) == found
    assert {name: due(truths, name) for name in told} == told


def due(truths: list[Truth], name: str) -> set[str]:
    """The codes that a run is to have, of all blocks in it."""
    return {code for truth in truths if truth.name == name for code in truth.told}


def test_there_are_enough() -> None:
    """The suite is as wide as was promised."""
    assert len(CASES) >= 80


def test_every_optimizer_of_torch_has_a_row() -> None:
    """A class that a later torch brings fails here until it has a case."""
    assert set(optimizer_cases.known()) <= {*optimizer_cases.ROWS, "Optimizer"}


def test_every_scheduler_of_torch_has_a_row() -> None:
    """Likewise for schedulers."""
    assert set(scheduler_cases.known()) <= {*scheduler_cases.ROWS}
