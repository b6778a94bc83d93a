"""Shells complete commands, options, and the names of trackers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def completed(command_line, *words: str) -> list[str]:
    """What bash would offer for the last of these words."""
    done = command_line(
        _LRTRACK_COMPLETE="bash_complete",
        COMP_WORDS=" ".join(("lrtrack", *words)),
        COMP_CWORD=str(len(words)),
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["com"], ["compare"]),
        (["s"], ["sweep", "sync"]),
        (["compare", "--form"], ["--format"]),
        (["compare", "--format", "m"], ["markdown"]),
        (["compare", "--tracker", "m"], ["mlflow"]),
        (["runs", "--tracker", "local,w"], ["local,wandb"]),
    ],
)
def test_what_is_offered(command_line, words: list[str], expected: list[str]) -> None:
    """Whatever the word may become."""
    assert completed(command_line, *words) == expected


def test_every_tracker_is_offered(command_line) -> None:
    """Before anything is typed."""
    assert {"local", "mlflow", "wandb"} <= set(completed(command_line, "compare", "--tracker", ""))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(command_line, shell: str) -> None:
    """The completion script of each shell is valid in that shell's grammar."""
    done = command_line(_LRTRACK_COMPLETE=f"{shell}_source")
    found = shutil.which(shell)

    assert (done.returncode, done.stderr) == (0, "")
    assert "_lrtrack_completion" in done.stdout
    assert f"_LRTRACK_COMPLETE={shell}_complete" in done.stdout
    if found is not None:
        subprocess.run([found, "-n"], input=done.stdout, text=True, check=True, timeout=300)


def test_bash_itself(clean_place: Path, tmp_path: Path) -> None:
    """A real bash that has evaluated the line fills in the command."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    program = tmp_path / "bin" / "lrtrack"
    program.parent.mkdir()
    code = "from lrtrack.cli import main; main(prog_name='lrtrack')"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$@"\n')
    program.chmod(0o755)
    script = f"""
        PATH={program.parent}:$PATH
        eval "$(_LRTRACK_COMPLETE=bash_source lrtrack)"
        COMP_WORDS=(lrtrack com) COMP_CWORD=1
        _lrtrack_completion lrtrack
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run([bash, "-c", script], capture_output=True, text=True, timeout=300)

    assert (done.stdout, done.stderr) == ("compare\n", "")
