"""Blocks that share a run: their scopes, their phases, and the run they form together."""

from __future__ import annotations

from itertools import combinations

import numpy as np
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
    """The scope of a plain prefix is the prefix without its trailing slash."""
    assert shared_runs.scope_of(prefix) == scope


@pytest.mark.parametrize("prefix", ["scheduler/", "seed/x/", "phase2/", "a.b/", "D", "ä/", "//"])
def test_other_prefixes_have_a_hash(prefix: str) -> None:
    """A prefix that is reserved, or could be taken for another one, gets a hash in its scope."""
    scope = shared_runs.scope_of(prefix)
    name = f"lrtrack.{scope}.scheduler"

    assert scope != prefix.removesuffix("/")
    assert metadata.key(name) == name


@given(st.lists(st.text("Dd/_-. ä", max_size=5), unique=True, min_size=2, max_size=20))
def test_different_prefixes_have_different_scopes(prefixes: list[str]) -> None:
    """Two different prefixes never have the same scope."""
    for first, second in combinations(prefixes, 2):
        assert shared_runs.scope_of(first) != shared_runs.scope_of(second)


def test_a_chain_names_its_parts_in_order() -> None:
    """A chain joins schedules in order, merges equal neighbours, and drops what is no schedule."""
    parts = [COSINE.to_dict(), COSINE.to_dict(), None, {"T_max": 3}, STEPS.to_dict()]
    chain = shared_runs.chain(parts)

    assert chain.name == "CosineAnnealingLR -> StepLR"
    assert chain.params["schedulers"] == [COSINE.to_dict(), STEPS.to_dict()]
    assert shared_runs.chain(parts[:2]) == COSINE
    assert shared_runs.chain([None]) == Schedule(CONSTANT)


def test_long_lists_of_phases_are_shortened() -> None:
    """Of very many phases, the first and the latest are listed, each once and in order."""
    phases = [{"id": str(at), "first": 10 * at} for at in range(40)]
    listed = shared_runs.listed([*reversed(phases), phases[3]])

    assert [phase["first"] for phase in listed] == [0, *range(250, 400, 10)]


def test_the_course_has_the_diagnoses_of_all_phases() -> None:
    """The whole run has the diagnoses of all its phases, in order."""
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
def test_malformed_phases_are_dropped(data: object) -> None:
    """Phases that a tracker returns malformed are dropped."""
    assert shared_runs.phases_from(data) == ()


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("lr", False), ("grad_norm/body", False), ("loss_count", False), ("update_norm", False),
        ("weight_norm/body", False), ("update_ratio/body", False), ("weight_decay", False),
        ("lr_effective/body", False), ("loss", False), ("loss/boxes", True), ("accuracy", True),
        ("updates", True),
    ],
)  # fmt: skip
def test_what_the_block_without_a_prefix_recorded_is_its_own(name: str, own: bool) -> None:
    """Another block has the user's metrics without a prefix, and not those that lrtrack records."""
    present = np.ones(2, dtype=bool)
    arrays = {
        "steps": np.arange(2),
        "times": np.zeros(2),
        "metrics": {name: np.zeros(2), "b/lr": np.zeros(2)},
        "present": {name: present, "b/lr": present},
    }

    assert (name in shared_runs.arrays_of_block(arrays, "b/", ["", "b/"])["metrics"]) is own
    assert name in shared_runs.arrays_of_block(arrays, "", ["", "b/"])["metrics"]
