"""The layers drawn in docs/architecture.md are those that import-linter enforces."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_drawn_layers_are_the_enforced_ones() -> None:
    """The drawing has the same packages on each layer, from top to bottom."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "floors")
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawing = text.partition("## Layers")[2].partition("```text\n")[2].partition("```")[0]

    assert _drawn(drawing, layers) == [layer.split(" | ") for layer in layers]


def _drawn(drawing: str, layers: list[str]) -> list[list[str]]:
    """Returns the layers of the drawing: the first words of the cells between two lines."""
    packages = {room for layer in layers for room in layer.split(" | ")}
    layers_drawn = []
    for block in re.split(r"^[┌├└].*\n?", drawing, flags=re.MULTILINE):
        lines = [re.split("│", line.strip().strip("│")) for line in block.splitlines()]
        if lines:
            firsts = [cell.split()[0] for cell in lines[0] if cell.split()]
            assert set(firsts) <= packages, firsts
            layers_drawn.append(firsts)
    return layers_drawn
