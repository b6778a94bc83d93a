"""Every diagnosis has a row, a page, and a plot that is up to date."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "diagnoses"
_SPEC = importlib.util.spec_from_file_location("draw", PAGES / "draw.py")
assert _SPEC is not None
assert _SPEC.loader is not None
draw = importlib.util.module_from_spec(_SPEC)
sys.modules["draw"] = draw  # dataclasses look their module up
_SPEC.loader.exec_module(draw)


def codes() -> list[str]:
    """The codes that any rule returns."""
    sources = (ROOT / "lrtrack" / "stats" / "diagnose").glob("*.py")
    found = {
        code for path in sources for code in re.findall(r'"(LR\d{3})"', path.read_text("utf-8"))
    }
    return sorted(found)


def test_every_code_is_documented() -> None:
    """The codes of the rules, of the table, of the pages and of the plots are the same."""
    table = (ROOT / "docs" / "diagnoses.md").read_text("utf-8")

    assert re.findall(r"^\| \[(LR\d{3})\]", table, re.M) == codes()
    assert sorted(path.stem for path in PAGES.glob("*.md")) == codes()
    assert sorted(draw.PLOTS) == codes()


@pytest.mark.parametrize("code", draw.PLOTS)
def test_plots_are_up_to_date(code: str) -> None:
    """The plot of a page is what `python docs/diagnoses/draw.py` draws."""
    assert (PAGES / f"{code}.md").read_text("utf-8") == draw.page_with_plot(code)
