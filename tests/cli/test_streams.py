"""The command line with standard streams that are closed, full or gone."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

CODE = "from lrtrack.cli import main; main(prog_name='lrtrack')"
CLOSED = "Error: Cannot write to standard output: it is closed.\n"
FULL = "Error: Cannot write to standard output: No space left on device.\n"


def run(arguments: str, streams: str, **variables: str) -> tuple[int, str, str]:
    """Returns exit status, standard output and standard error of a command in a shell."""
    command = f"{shlex.join([sys.executable, '-P', '-c', CODE])} {arguments} {streams}"
    variables = {**os.environ, "PYTHONUNBUFFERED": "", **variables}
    done = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, timeout=300, env=variables
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("streams", "status", "err"),
    [(">&-", 1, CLOSED), (">/dev/full", 1, FULL), (">&- 2>&-", 1, ""), (">/dev/full 2>&-", 1, "")],
)
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_no_standard_output(streams: str, status: int, err: str, unbuffered: str) -> None:
    """Without a place for its results, a command says so in one line and fails."""
    assert run("--version", streams, PYTHONUNBUFFERED=unbuffered) == (status, "", err)


@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full", "<&- 2>&-"])
def test_no_standard_error(streams: str) -> None:
    """Without standard error, a command prints its results as ever."""
    assert run("--version", streams) == run("--version", "")


@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full"])
def test_an_error_without_standard_error(streams: str) -> None:
    """The exit status of an error is the same where nobody can read its message."""
    assert run("compar", streams) == (2, "", "")


def test_a_report_on_a_full_disk() -> None:
    """A table that does not fit where standard output leads is one line on stderr."""
    assert run("preview 'cosine(T_max=9)' --steps 9", ">/dev/full") == (1, "", FULL)


def test_a_report_in_a_file_needs_no_streams(tmp_path: Path) -> None:
    """A report that is written to a file is complete without any standard stream."""
    file = tmp_path / "preview.csv"
    command = f"preview 'cosine(T_max=9)' --steps 9 --output {file}"

    assert run(command, "<&- >&- 2>&-") == (0, "", "")
    assert len(file.read_text().splitlines()) == 10


def test_a_reader_that_has_seen_enough() -> None:
    """A reader that closes the pipe early, such as `head`, causes no message."""
    assert run("--help", "| true") == (0, "", "")
