"""Any optimizer, any scheduler, any loop: both trackers hold the expected values, each once.

No run has a diagnosis that its loop does not deserve.
"""

from __future__ import annotations

import pytest

from . import optimizer_cases, scheduler_cases
from .cases import CASES, Case
from .delivered import Delivered, expected
from .truth import Truth

#: Every case with each tracker that its runs go to.
PAIRS = [(case, tracker) for case in CASES.values() for tracker in case.trackers]


@pytest.mark.parametrize(
    ("case", "tracker"), PAIRS, ids=[f"{c.name.replace(' ', '-')}-{t}" for c, t in PAIRS]
)
def test_what_arrives(case: Case, tracker: str, request: pytest.FixtureRequest) -> None:
    """Every run has exactly the expected metrics at their steps, and the expected diagnoses."""
    if case.missing:
        pytest.skip(f"needs {', '.join(case.missing)}")
    delivered: Delivered = request.getfixturevalue("delivered")
    if case.name in delivered.failures:
        pytest.fail(f"the loop failed:\n{delivered.failures[case.name]}", pytrace=False)
    truths = delivered.truths[case.name]
    metrics = {truth.name: delivered.found[tracker].get(truth.name) for truth in truths}
    diagnoses = {truth.name: delivered.told[tracker].get(truth.name) for truth in truths}
    schedules = {truth.name: truth.schedule for truth in truths if truth.schedule is not None}

    assert expected(truths) == metrics
    assert {name: due(truths, name) for name in diagnoses} == diagnoses
    assert schedules == {name: delivered.labels[tracker].get(name) for name in schedules}


def due(truths: list[Truth], name: str) -> set[str]:
    """Returns the codes that a run must have, over all its blocks."""
    return {code for truth in truths if truth.name == name for code in truth.told}


def test_there_are_enough() -> None:
    """The suite has as many cases as promised."""
    assert len(CASES) >= 80


def test_every_optimizer_of_torch_has_a_row() -> None:
    """Every optimizer of this torch has a case, also those of later releases."""
    assert set(optimizer_cases.known()) <= {*optimizer_cases.ROWS, "Optimizer"}


def test_every_scheduler_of_torch_has_a_row() -> None:
    """Every scheduler of this torch has a case, also those of later releases."""
    assert set(scheduler_cases.known()) <= {*scheduler_cases.ROWS}
