"""The state of a delivery on disk: no flipped bit goes unnoticed."""

from __future__ import annotations

import json
from pathlib import Path

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
