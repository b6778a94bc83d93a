"""What all examples have in common, and their index."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

from lrtrack.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = sorted(EXAMPLES.glob("*.py"))
FILES = [*PROGRAMS, *sorted(EXAMPLES.glob("*/**/*.py"))]


def name_of(path: Path) -> str:
    """For the test's name."""
    return path.relative_to(EXAMPLES).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_it_is_short(path: Path) -> None:
    """An example shows one idea: 60 lines at most."""
    assert len(path.read_text().splitlines()) <= 60


@pytest.mark.parametrize("path", PROGRAMS, ids=name_of)
def test_its_first_words_say_how_to_look_at_it(path: Path) -> None:
    """One sentence on the first line, and a command of lrtrack's that exists as it stands there."""
    text = path.read_text()
    said = ast.get_docstring(ast.parse(text)) or ""
    (named,) = re.findall(r"(?:^|: )lrtrack (.+)$", said, re.MULTILINE)
    name, *options = shlex.split(named)
    command = main.get_command(
        main.make_context("lrtrack", ["--help"], resilient_parsing=True), name
    )

    assert text.startswith('"""')
    assert command is not None
    command.make_context(name, list(options))
    experiment = options[options.index("--experiment") + 1]
    assert f'"{experiment}"' in text or f"'{experiment}'" in text


def test_the_index() -> None:
    """The table names every example, and nothing else."""
    table = re.findall(r"^\| \[(.+?)\]\((.+?)\) \|", (EXAMPLES / "README.md").read_text(), re.M)
    folders = [path for path in EXAMPLES.iterdir() if (path / "README.md").exists()]

    assert [shown for shown, linked in table if shown != linked] == []
    assert sorted(linked for _, linked in table) == sorted(
        path.name for path in (*PROGRAMS, *folders)
    )
