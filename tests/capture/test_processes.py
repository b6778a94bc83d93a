"""How many processes train together, and which of them this is, without a process group."""

from __future__ import annotations

import pytest

from lrtrack.capture.optimizers import rank, world_size


@pytest.mark.parametrize(
    ("variables", "size", "own"),
    [
        ({}, 1, 0),
        ({"WORLD_SIZE": "4", "RANK": "2"}, 4, 2),
        ({"WORLD_SIZE": "4"}, 1, 0),
        ({"RANK": "2"}, 1, 0),
        ({"WORLD_SIZE": "1", "RANK": "2"}, 1, 0),
        ({"WORLD_SIZE": "many", "RANK": "2"}, 1, 2),
        ({"WORLD_SIZE": "4", "RANK": "first"}, 4, 0),
    ],
)
def test_processes_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], size: int, own: int
) -> None:
    """Torchrun's variables count where both are numbers that fit each other."""
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert (world_size(), rank()) == (size, own)
