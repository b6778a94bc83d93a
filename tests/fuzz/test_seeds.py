"""The fuzz targets pass on seeds, on damaged copies of them, and on earlier findings."""

from __future__ import annotations

import random
import runpy
from pathlib import Path

import pytest

_FUZZED = runpy.run_path(str(Path(__file__).parent / "targets.py"))
TARGETS, SEEDS = _FUZZED["TARGETS"], list(_FUZZED["seeds"]())
#: Inputs that once failed, by target.
FOUND: list[tuple[str, bytes]] = [
    ("spec", b"a(x=" + b"[" * 3000),
    ("spec", b'{"name":"a","x":' + b"[" * 2000 + b"]" * 2000 + b"}"),
    ("spec", b"[" * 200_000),
    ("journal", b"\x02" + b'{"event":' * 50_000),
    ("journal", b"\x01"),
]


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_and_what_was_found(target: str):
    """Valid inputs and those that once failed pass."""
    for name, data in [*SEEDS, *FOUND]:
        if name == target:
            TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_seeds(target: str):
    """Seeds with bytes changed, removed, doubled and joined pass."""
    chance = random.Random(0)
    mine = [data for name, data in SEEDS if name == target]
    for _ in range(600):
        data = bytearray(chance.choice(mine))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data)) if data else 0
            upto = min(len(data), at + chance.choice([1, 2, 4, 8, 60]))
            change = chance.randrange(4)
            if change == 0 and data:
                data[at] = chance.randrange(256)
            elif change == 1:
                del data[at:upto]
            elif change == 2:
                data[at:at] = data[at:upto]
            else:
                data[at:upto] = bytes([chance.choice([0, 255, 128])]) * (upto - at)
        TARGETS[target](bytes(data))
