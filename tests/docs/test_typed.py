"""Types are part of what ships; `tox -e lint` runs `mypy --strict` on tests/typing/api.py."""

from __future__ import annotations

from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_marker_ships() -> None:
    """Without `py.typed`, type checkers take every name for Any."""
    assert files("lrtrack").joinpath("py.typed").is_file()
    listed = [str(path) for path in distribution("lrtrack").files or ()]
    installed = [path for path in listed if path.startswith("lrtrack/")]  # none, where editable

    assert not installed or "lrtrack/py.typed" in installed


def test_the_typed_program_is_checked() -> None:
    """The lint environment names it, and it uses every public name that has a type to lose."""
    program = (ROOT / "tests" / "typing" / "api.py").read_text("utf-8")
    used = ("track", "TrackedRun", "compare", "Comparison", "describe", "Schedule", "simulate")
    used += ("scheduler", "find_lr", "LRFinderResult", "LRTrackError")

    assert "mypy tests/typing/api.py" in (ROOT / "tox.ini").read_text("utf-8")
    assert [name for name in used if f"lrtrack.{name}" not in program] == []
