"""Programs, commands and links in README, docs/ and the other Markdown files work as they stand."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lrtrack.cli import main

ROOT = Path(__file__).parents[2]
COMMANDS = ROOT / "docs" / "commands.md"
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("**/*.md")),
    *sorted((ROOT / "examples").glob("**/*.md")),
]
#: Names that an incomplete program may use.
PREAMBLE = """
import torch, lrtrack
model = torch.nn.Linear(2, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
sched = torch.optim.lr_scheduler.StepLR(opt, 10)
"""
#: A command of lrtrack, also behind a prompt, `&&` or a path.
_OWN = re.compile(r"(?:^|&& |\$ |\S*/bin/)(lrtrack [^|&`]*)")


def blocks(language: str) -> Iterator[tuple[Path, int, str]]:
    """Yields fenced blocks of a language: the file, its number in that file, and its text."""
    for path in PAGES:
        texts = re.findall(rf"^ *```{language}\n(.*?)^ *```", path.read_text("utf-8"), re.M | re.S)
        yield from ((path, number, text) for number, text in enumerate(texts))


def block_id(block: tuple[Path, int, str]) -> str:
    """Returns a block's name in the list of tests."""
    return f"{block[0].relative_to(ROOT)}:{block[1]}"


def commands() -> list[list[str]]:
    """Returns every lrtrack command, split into words, in blocks and in the running text."""
    lines = [
        line for _, _, text in blocks("sh") for line in re.sub(r"\\\n\s*", "", text).splitlines()
    ]
    for path in PAGES:
        text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.S)
        lines += [line for line in re.findall(r"`([^`\n]+)`", text) if line.startswith("lrtrack ")]
    texts = [match[1] for line in lines for match in _OWN.finditer(line)]
    return [shlex.split(command, comments=True)[1:] for command in dict.fromkeys(texts)]


@pytest.mark.parametrize("block", list(blocks("python")), ids=block_id)
def test_programs_run(block: tuple[Path, int, str], store: str, clean_place: Path) -> None:
    """Every Python program in the documentation runs; fragments get a preamble."""
    _, _, text = block
    program = text if re.search(r"^(import|from) ", text, re.M) else PREAMBLE + text
    process = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=300
    )

    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_exist(words: list[str]) -> None:
    """Every command in the documentation exists, with valid options and values."""
    context = main.make_context("lrtrack", ["--help"], resilient_parsing=True)
    command = main.get_command(context, words[0])
    assert command is not None
    options = {name for option in command.params for name in option.opts}

    assert [word for word in words if word.startswith("-") and word not in options] == []
    if any(word.startswith("-") for word in words) and "…" not in " ".join(words):
        command.make_context(words[0], words[1:])


def test_the_table_of_commands() -> None:
    """The table of commands lists every command exactly once."""
    table = COMMANDS.read_text("utf-8")
    named = re.findall(r"^\| `lrtrack (\w+)", table, re.M)
    context = main.make_context("lrtrack", ["--help"], resilient_parsing=True)

    assert sorted(named) == main.list_commands(context)


def test_options_in_the_table_exist() -> None:
    """Each option in a row of the table of commands is an option of that command."""
    table = COMMANDS.read_text("utf-8")
    context = main.make_context("lrtrack", ["--help"], resilient_parsing=True)
    unknown = []
    for name, row in re.findall(r"^\| `lrtrack (\w+)(.*)$", table, re.M):
        command = main.get_command(context, name)
        assert command is not None
        known = {option for parameter in command.params for option in parameter.opts}
        unknown += [(name, word) for word in re.findall(r"--[\w-]+", row) if word not in known]

    assert unknown == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """Every file that a page links to exists, relative to the page."""
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text("utf-8"))

    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_readme_is_short() -> None:
    """README fits into 150 lines, and links to every page of the documentation."""
    text = (ROOT / "README.md").read_text("utf-8")

    assert text.count("\n") <= 150
    assert [p.name for p in (ROOT / "docs").glob("*.md") if f"(docs/{p.name})" not in text] == []
