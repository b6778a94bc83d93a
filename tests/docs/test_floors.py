"""The floors that README draws are those that the lint environment holds."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_drawn_floors_are_the_enforced_ones() -> None:
    """From the top floor down, with the same rooms on each."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each["id"] == "floors")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    drawing = text.partition("## Architecture")[2].partition("```text\n")[2].partition("```")[0]

    assert _drawn(drawing, layers) == [layer.split(" | ") for layer in layers]


def _drawn(drawing: str, layers: list[str]) -> list[list[str]]:
    """A floor is what stands between two lines; its rooms are the first words of its cells."""
    rooms = {room for layer in layers for room in layer.split(" | ")}
    floors = []
    for block in re.split(r"^[┌├└].*\n?", drawing, flags=re.MULTILINE):
        lines = [re.split("│", line.strip().strip("│")) for line in block.splitlines()]
        if lines:
            firsts = [cell.split()[0] for cell in lines[0] if cell.split()]
            assert set(firsts) <= rooms, firsts
            floors.append(firsts)
    return floors
