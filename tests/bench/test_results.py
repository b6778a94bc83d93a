"""How results are stored, and what the table says about them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Import = Callable[[str], Any]
ROUNDS = [1.05, 1.01, 1.52, 1.06, 1.04, 0.76, 1.07, 1.03, 1.02, 1.08]
SPENT = {"load": [0.5, 2.5], "minutes": 1.5}


@pytest.fixture
def results(benchmark_module: Import, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark's module of results, on a machine and a commit that do not change."""
    circumstances = benchmark_module("circumstances")
    monkeypatch.setattr(circumstances, "machine", lambda: "a machine")
    monkeypatch.setattr(circumstances, "versions", lambda: "Python 3")
    monkeypatch.setattr(circumstances, "commit", lambda: "0123456789")
    return benchmark_module("results")


def lines(folder: Path) -> list[str]:
    """Returns the rows of all tables in RESULTS.md, without their heads."""
    text = (folder / "RESULTS.md").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.startswith("| a row")]


def test_a_row_has_its_median_and_its_interval(results: Any) -> None:
    """A row of ten rounds has their median, their interval, their range, and all of them."""
    row = results.measured_row("a row", ROUNDS, 1.05, how="10 steps")

    assert results.Row(
        "a row", "1.045", "≤ 1.05", True, "10 steps; 10 rounds, 0.760 to 1.520", "1.010–1.080",
        "reached within noise", "", tuple(ROUNDS),
    ) == row  # fmt: skip


def test_a_row_with_a_unit_and_a_least_value(results: Any) -> None:
    """A figure has its unit, and a goal may be a least value."""
    row = results.measured_row("a row", [30.0] * 10, 20, at_least=True, digits=0, unit="×")

    assert (
        row.measured, row.reach, row.interval, row.verdict
    ) == ("30×", "≥ 20×", "30–30", "reached")  # fmt: skip


def test_the_reason_of_a_miss_is_written_where_it_is_missed(results: Any, tmp_path: Path) -> None:
    """A missed row gives its reason, and a reached one does not."""
    run = results.begin(tmp_path, whole=False, rounds=10)
    rows = [results.measured_row("a row", ROUNDS, goal, reason="it is slow") for goal in (1.0, 2.0)]
    run.keep("part", "A part", rows, SPENT)

    assert lines(tmp_path) == [
        "| a row | 1.045 | 1.010–1.080 | ≤ 1 | **missed** | 10 rounds, 0.760 to 1.520; why: it is "
        "slow |",
        "| a row | 1.045 | 1.010–1.080 | ≤ 2 | reached | 10 rounds, 0.760 to 1.520 |",
    ]


def test_rows_without_rounds_are_marked_as_well(results: Any, tmp_path: Path) -> None:
    """A row that only says whether it has reached its goal is reached or missed."""
    run = results.begin(tmp_path, whole=False, rounds=10)
    rows = [results.Row("a row", "1 s", "≤ 2 s", reached, "a note") for reached in (True, False)]
    run.keep("part", "A part", [*rows, results.Row("a row", "3 s")], SPENT)

    assert lines(tmp_path) == [
        "| a row | 1 s |  | ≤ 2 s | reached | a note |",
        "| a row | 1 s |  | ≤ 2 s | **missed** | a note |",
        "| a row | 3 s |  |  |  |  |",
    ]


def test_a_part_alone_leaves_the_others(results: Any, tmp_path: Path) -> None:
    """A part that is measured alone replaces its own rows, and the table names no single run."""
    for name in ("one", "two", "one"):
        run = results.begin(tmp_path, whole=False, rounds=10)
        run.keep(name, f"Part {name}", [results.Row(f"a row of {name}", "1 s")], SPENT)

    assert lines(tmp_path) == [
        "| a row of one | 1 s |  |  |  |  |",
        "| a row of two | 1 s |  |  |  |  |",
    ]
    assert "part by part" in (tmp_path / "RESULTS.md").read_text(encoding="utf-8")


def test_a_whole_run_writes_everything_anew(
    results: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole run keeps nothing of earlier ones, and the table says when and from what it is."""
    monkeypatch.setattr(results.time, "gmtime", lambda: (2026, 1, 2, 3, 4, 5, 4, 2, 0))
    earlier = results.begin(tmp_path, whole=False, rounds=2)
    earlier.keep("old", "An old part", [results.Row("a row of an old part", "1 s")], SPENT)
    run = results.begin(tmp_path, whole=True, rounds=10)
    for name in ("one", "two"):
        run.keep(name, f"Part {name}", [results.Row(f"a row of {name}", "1 s")], SPENT)
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")

    assert list(results.read(tmp_path)) == ["one", "two"]
    assert text.splitlines()[2] == (
        "Written by one run of `tox -e bench`: started 2026-01-02 03:04:05 UTC, 3 minutes, 10 "
        "rounds, commit 0123456789."
    )
    assert (
        "1.5 minutes; load average 0.5 at the start and 2.5 at the end; commit 0123456789."
    ) in text


def test_a_part_that_is_measured_again_after_a_whole_run(results: Any, tmp_path: Path) -> None:
    """The table says which of its parts are not from the one run of the others."""
    run = results.begin(tmp_path, whole=True, rounds=10)
    for name in ("one", "two", "three"):
        run.keep(name, f"Part {name}", [results.Row(f"a row of {name}", "1 s")], SPENT)
    again = results.begin(tmp_path, whole=False, rounds=10)
    again.keep("two", "Part two", [results.Row("a row of two", "2 s")], SPENT)
    line = (tmp_path / "RESULTS.md").read_text(encoding="utf-8").splitlines()[2]

    assert line.startswith("Written by one run of `tox -e bench`: started ")
    assert line.endswith("These parts were measured once more since: Part two.")


def test_two_readings_of_the_load_and_the_minutes(
    benchmark_module: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part says how busy the machine was at its start and at its end, and how long it took."""
    circumstances = benchmark_module("circumstances")
    clock = iter([10.0, 100.0])
    loads = iter([(0.26, 0.0, 0.0), (3.04, 0.0, 0.0)])
    with monkeypatch.context() as patch:
        patch.setattr(circumstances.time, "monotonic", lambda: next(clock))
        patch.setattr(circumstances.os, "getloadavg", lambda: next(loads))
        found = circumstances.Load().until_now()

    assert found == {"load": [0.3, 3.0], "minutes": 1.5}
