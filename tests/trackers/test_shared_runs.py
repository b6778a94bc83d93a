"""Blocks that share a run: their names there, and what they are together."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrtrack.records import Run
from lrtrack.schedules import CONSTANT, Schedule
from lrtrack.trackers import shared_runs
from lrtrack.trackers.mlflow import metadata

COSINE = Schedule("CosineAnnealingLR", {"T_max": 10})
STEPS = Schedule("StepLR", {"step_size": 5})


@pytest.mark.parametrize(
    ("prefix", "scope"),
    [("", ""), ("D/", "D"), ("gan/D/", "gan/D"), ("D_", "D_"), ("critic-1/", "critic-1")],
)
def test_plain_prefixes_are_scopes(prefix: str, scope: str) -> None:
    """Without the slash at their end."""
    assert shared_runs.scope_of(prefix) == scope


@pytest.mark.parametrize("prefix", ["scheduler/", "seed/x/", "phase2/", "a.b/", "D", "ä/", "//"])
def test_other_prefixes_have_a_hash(prefix: str) -> None:
    """As plain, they would be a name of lrtrack's own, or another prefix's scope."""
    scope = shared_runs.scope_of(prefix)
    name = f"lrtrack.{scope}.scheduler"

    assert scope != prefix.removesuffix("/")
    assert metadata.key(name) == name


@given(st.lists(st.text("Dd/_-. ä", max_size=5), unique=True, min_size=2, max_size=20))
def test_different_prefixes_have_different_scopes(prefixes: list[str]) -> None:
    """Whatever they are made of."""
    for one, other in combinations(prefixes, 2):
        assert shared_runs.scope_of(one) != shared_runs.scope_of(other)


def test_a_chain_names_its_parts_in_order() -> None:
    """Equal ones in a row are one; a single one is itself; of nonsense nothing is taken."""
    parts = [COSINE.to_dict(), COSINE.to_dict(), None, {"T_max": 3}, STEPS.to_dict()]
    chain = shared_runs.chain(parts)

    assert chain.name == "CosineAnnealingLR -> StepLR"
    assert chain.params["schedulers"] == [COSINE.to_dict(), STEPS.to_dict()]
    assert shared_runs.chain(parts[:2]) == COSINE
    assert shared_runs.chain([None]) == Schedule(CONSTANT)


def test_of_very_many_phases_the_first_and_the_latest_are_listed() -> None:
    """Each once, in the order of their steps."""
    phases = [{"id": str(at), "first": 10 * at} for at in range(40)]
    found = shared_runs.listed([*reversed(phases), phases[3]])

    assert [each["first"] for each in found] == [0, *range(250, 400, 10)]


def test_the_course_has_the_diagnoses_of_all_phases() -> None:
    """In order, with those of the block itself at the end."""
    early = ({"code": "LR003", "message": "m", "hint": "h"},)
    late = ({"code": "LR004", "message": "m", "hint": "h"},)
    first = Run("1" * 32, "a", COSINE, diagnoses=early)
    second = Run("2" * 32, "b", STEPS, diagnoses=late)
    phases = [shared_runs.phase_of(first, 0), shared_runs.phase_of(second, 10)]
    course = shared_runs.course(second, phases)

    assert course.diagnoses == (*early, *late)
    assert course.schedule.name == "CosineAnnealingLR -> StepLR"


@pytest.mark.parametrize("data", [
    None, "x", [1], [{"id": 1, "first": 0}], [{"id": "1"}], [{"id": "1", "first": -1}],
    [{"id": "1", "first": 1.5}],
])  # fmt: skip
def test_what_is_no_phase_is_left_out(data: object) -> None:
    """A tracker can hold anything."""
    assert shared_runs.phases_from(data) == ()
