"""The figures in README.md and docs/benchmarks.md are the measured ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "tests" / "bench"


@pytest.mark.parametrize(
    ("name", "render"), [("README.md", "readme"), ("docs/benchmarks.md", "page")]
)
def test_the_page_has_the_measured_figures(
    name: str, render: str, benchmark_module: Callable[[str], Any]
) -> None:
    """A page stays as it is when `tox -e bench -- --tables` writes the stored results into it."""
    pages, results = benchmark_module("pages"), benchmark_module("results")
    text = (ROOT / name).read_text(encoding="utf-8")
    peers = (BENCH / "PEERS.md").read_text(encoding="utf-8")

    assert text == getattr(pages, render)(text, results.read(), peers)


def test_the_table_is_that_of_the_stored_results(benchmark_module: Callable[[str], Any]) -> None:
    """RESULTS.md is what the stored results give, to the letter."""
    results = benchmark_module("results")

    assert (BENCH / "RESULTS.md").read_text(encoding="utf-8") == results.written(results.read())


def test_each_missed_goal_has_its_reason(benchmark_module: Callable[[str], Any]) -> None:
    """Each row that misses its goal says why, in its reason or, without rounds, in its note."""
    results = benchmark_module("results")
    rows = [row for part in results.read().values() for row in part["rows"]]
    missed = [row for row in rows if results.verdict(row) == "missed"]
    unexplained = [
        row["what"]
        for row in missed
        if not (results.reason(row) or (row["note"] and not row.get("values")))
    ]

    assert unexplained == []
