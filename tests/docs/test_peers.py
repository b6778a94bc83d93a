"""The comparison with other ways to log in docs/benchmarks.md is the measured one."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- peers: from tests/bench/PEERS.md -->", "<!-- /peers -->"


def test_the_page_has_the_measured_table() -> None:
    """The page repeats the table that `tox -e bench -- --only arrived` writes, to the letter."""
    measured = (ROOT / "tests" / "bench" / "PEERS.md").read_text(encoding="utf-8")
    expected = [line for line in measured.splitlines() if line.startswith("|")]
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    table = page.partition(BEGIN)[2].partition(END)[0]

    assert len(expected) > 5
    assert [line for line in table.splitlines() if line.startswith("|")] == expected
