"""What a run of the mutation tests says of its result."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parent


def mutant(before: str, killed_by: str) -> dict[str, Any]:
    """A mutant and the test that killed it."""
    return {
        "file": "lrtrack/a.py", "line": 3, "before": before, "after": "pass", "tests": 2,
        "killed_by": killed_by,
    }  # fmt: skip


def test_the_summary_of_a_package(results: ModuleType, tmp_path: Path) -> None:
    """Equivalent mutants, and those that were not tested yet, do not count; survivors are named."""
    sample = [
        mutant("a", "tests/test_a.py::test_a"),
        mutant("b", "a crash or the time limit"),
        mutant("c", ""),
        mutant("d", ""),
        mutant("e", "import"),
    ]
    file, equivalent = tmp_path / "a.json", tmp_path / "equivalent.toml"
    file.write_text(json.dumps({"package": "lrtrack/a", "seed": 1, "sample": sample}))
    equivalent.write_text(
        '[[mutant]]\nfile = "lrtrack/a.py"\nbefore = "d"\nafter = "pass"\nreason = "it is"\n'
    )

    assert results.summary(file, equivalent) == (
        "lrtrack/a: 2 of 3 mutants killed, 66.7 % (95 % interval 21 to 94 %), 1 equivalent, seed 1"
        "\n  lrtrack/a.py:3 (2 tests)\n    - c\n    + pass"
    )


def test_the_interval_of_a_rate(results: ModuleType) -> None:
    """The interval is Wilson's, and everything is possible without a mutant."""
    assert results.wilson(27, 32) == pytest.approx((0.68245, 0.93138), abs=1e-4)
    assert results.wilson(0, 0) == (0.0, 1.0)


def test_the_equivalent_mutants_have_reasons(results: ModuleType) -> None:
    """Each mutant that is listed as equivalent is of a line that there is, and says why."""
    root = FOLDER.parents[1]
    for (file, before, after), reason in results.equivalents(FOLDER / "equivalent.toml").items():
        lines = [line.strip() for line in (root / file).read_text(encoding="utf-8").splitlines()]
        assert [part for part in before.splitlines() if part not in lines] == []
        assert before != after
        assert len(reason) > 20
