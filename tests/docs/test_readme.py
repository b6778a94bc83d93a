"""What README, CONTRIBUTING and the examples' texts show is so: programs, commands, files."""

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
TEXTS = [
    *(path for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md") if path.exists()),
    *sorted((ROOT / "examples").glob("**/*.md")),
]
#: Where what is no whole program takes its names from.
PREAMBLE = """
import torch, lrtrack
model = torch.nn.Linear(2, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
sched = torch.optim.lr_scheduler.StepLR(opt, 10)
"""
#: Commands of other programs, of which only lrtrack's are looked at.
_OWN = re.compile(r"(?:^|&& |\$ |\S*/bin/)(lrtrack [^|&`]*)")


def blocks(language: str) -> Iterator[tuple[Path, int, str]]:
    """Fenced blocks of a language: the file, its place among them, and its text."""
    for path in TEXTS:
        found = re.findall(rf"^ *```{language}\n(.*?)^ *```", path.read_text("utf-8"), re.M | re.S)
        yield from ((path, at, text) for at, text in enumerate(found))


def shown(block: tuple[Path, int, str]) -> str:
    """For the test's name."""
    return f"{block[0].relative_to(ROOT)}:{block[1]}"


def commands() -> list[list[str]]:
    """Every command of lrtrack's, as words: in blocks, and those in the running text."""
    lines = [
        line for _, _, text in blocks("sh") for line in re.sub(r"\\\n\s*", "", text).splitlines()
    ]
    for path in TEXTS:
        text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.S)
        lines += [line for line in re.findall(r"`([^`\n]+)`", text) if line.startswith("lrtrack ")]
    found = [match[1] for line in lines for match in _OWN.finditer(line)]
    return [shlex.split(command, comments=True)[1:] for command in dict.fromkeys(found)]


@pytest.mark.parametrize("block", list(blocks("python")), ids=shown)
def test_programs_run(block: tuple[Path, int, str], store: str, clean_place: Path) -> None:
    """As they stand there; what begins in the middle of a training is given its beginning."""
    _, _, text = block
    program = text if re.search(r"^(import|from) ", text, re.M) else PREAMBLE + text
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=300
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_exist(words: list[str]) -> None:
    """With each of the options, and values that they take."""
    context = main.make_context("lrtrack", ["--help"], resilient_parsing=True)
    command = main.get_command(context, words[0])
    assert command is not None
    options = {name for option in command.params for name in option.opts}

    assert [word for word in words if word.startswith("-") and word not in options] == []
    if any(word.startswith("-") for word in words) and "…" not in " ".join(words):
        command.make_context(words[0], words[1:])


def test_the_table_of_commands() -> None:
    """README's table has each command once, and nothing that is none."""
    table = (
        (ROOT / "README.md").read_text("utf-8").partition("## Commands")[2].partition("\n## ")[0]
    )
    named = re.findall(r"^\| `lrtrack (\w+)", table, re.M)
    context = main.make_context("lrtrack", ["--help"], resilient_parsing=True)

    assert sorted(named) == main.list_commands(context)


def test_options_in_the_table_exist() -> None:
    """Each option in a command's row is one of that command's."""
    table = (
        (ROOT / "README.md").read_text("utf-8").partition("## Commands")[2].partition("\n## ")[0]
    )
    context = main.make_context("lrtrack", ["--help"], resilient_parsing=True)
    unknown = []
    for name, row in re.findall(r"^\| `lrtrack (\w+)(.*)$", table, re.M):
        command = main.get_command(context, name)
        assert command is not None
        known = {option for each in command.params for option in each.opts}
        unknown += [(name, word) for word in re.findall(r"--[\w-]+", row) if word not in known]

    assert unknown == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """Every file that is linked to is there, from where the text is."""
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text("utf-8"))

    assert [link for link in links if not (path.parent / link).exists()] == []
