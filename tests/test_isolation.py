"""Where tests are checked for what they leave behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixtures import isolation


@pytest.mark.parametrize(
    ("made", "expected"),
    [((), False), (("work/.lrtrack",), True), (("state",), True), (("work/.lrtrack", "x"), True)],
)
def test_what_a_test_has_made(tmp_path: Path, made: tuple[str, ...], expected: bool) -> None:
    """Shippers are looked for wherever a test has made anything in its directories."""
    place = tmp_path / "place"
    for name in ("work", *made):
        (place / name).mkdir(parents=True, exist_ok=True)

    assert expected == isolation._has_files(place)


def test_a_test_that_has_removed_its_directory(tmp_path: Path) -> None:
    """Where the directory cannot be looked at, shippers are looked for."""
    assert isolation._has_files(tmp_path / "gone")
