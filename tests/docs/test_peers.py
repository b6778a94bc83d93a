"""README's comparison with other ways to log is the one that was measured."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- peers: from tests/bench/PEERS.md -->", "<!-- /peers -->"


def test_the_readme_has_the_table_that_was_measured() -> None:
    """To the letter: `tox -e bench -- --only arrived` writes the one, people copy it."""
    measured = (ROOT / "tests" / "bench" / "PEERS.md").read_text(encoding="utf-8")
    expected = [line for line in measured.splitlines() if line.startswith("|")]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = readme.partition(BEGIN)[2].partition(END)[0]

    assert len(expected) > 5
    assert [line for line in found.splitlines() if line.startswith("|")] == expected
