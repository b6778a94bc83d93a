"""The state of a delivery on disk: no flipped bit goes unnoticed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from lrtrack.shipping.cursor import Cursor

CURSOR = Cursor(offset=12345, remote_id="ab" * 16, closed=True, floor=1.5, first=3, error="é")


def test_no_flipped_bit_changes_a_cursor(clean_place: Path) -> None:
    """A cursor with any bit flipped is the same one, or counts as lost."""
    path = clean_place / "cursor"
    CURSOR.save(path)
    content = path.read_bytes()
    cursors = []
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        cursors.append(Cursor.load(path))
    path.write_bytes(content)

    assert Cursor.load(path) == CURSOR
    assert [cursor for cursor in cursors if cursor not in (CURSOR, Cursor._lost())] == []


def test_a_cursor_without_a_checksum(clean_place: Path) -> None:
    """A cursor of an earlier version, which has no checksum, counts."""
    path = clean_place / "cursor"
    CURSOR.save(path)
    data = json.loads(path.read_text())
    del data["checksum"]
    path.write_text(json.dumps(data))

    assert Cursor.load(path) == CURSOR


@pytest.mark.parametrize(
    ("part", "counts"),
    [
        ({"offset": 0}, True), ({"offset": -1}, False), ({"offset": 1.0}, False),
        ({"offset": True}, False), ({"skip": -1}, False), ({"failures": -1}, False),
        ({"doubtful": -1}, False), ({"first": None}, True), ({"first": 0}, True),
        ({"first": -1}, False), ({"floor": 1}, True), ({"floor": -1.5}, True),
        ({"floor": float("nan")}, False), ({"floor": True}, False), ({"floor": None}, False),
        ({"doubt": 1}, False), ({"closed": None}, False), ({"given_up": "no"}, False),
        ({"remote_id": 5}, False), ({"url": 5}, False), ({"error": 5}, False),
        ({"refused": 5}, False), ({"damage": 5}, False), ({"missing": 5}, False),
        ({"url": None}, True), ({"of a later version": 5}, True),
    ],
)  # fmt: skip
def test_which_cursors_make_sense(clean_place: Path, part: dict[str, object], counts: bool) -> None:
    """A cursor whose fields lrtrack would not write counts as lost, whoever wrote it."""
    path = clean_place / "cursor"
    CURSOR.save(path)
    data = json.loads(path.read_text())
    del data["checksum"]
    path.write_text(json.dumps({**data, **part}))

    assert (Cursor.load(path) != Cursor._lost()) is counts


def test_lost_cursors() -> None:
    """A lost cursor begins again, and takes all of the journal for perhaps delivered."""
    assert Cursor._lost() == Cursor(offset=0, skip=0, doubt=True, doubtful=sys.maxsize)


@pytest.mark.parametrize(
    ("error", "refused", "trouble"),
    [(None, None, None), ("away", None, "away"), ("no", "log in", "no: log in"), (None, "x", None)],
)
def test_why_a_delivery_is_stuck(
    error: str | None, refused: str | None, trouble: str | None
) -> None:
    """The fix is told with the error that it is for."""
    assert Cursor(error=error, refused=refused).trouble == trouble
