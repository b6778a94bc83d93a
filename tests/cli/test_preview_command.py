"""`lrtrack preview` as users call it."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lrtrack import simulate

SPECS = ("warmup(steps=10) -> cosine(min_lr=1e-5)", "onecycle(max_lr=0.1)")


def test_a_chart_by_default(lrtrack, monkeypatch):
    """At 80 columns, without colours in a pipe, with every spec in the legend."""
    monkeypatch.delenv("COLUMNS", raising=False)
    result = lrtrack("preview", *SPECS, "--steps", "100")

    assert (result.exit_code, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) == 80
    assert all(spec in result.stdout for spec in SPECS)


def test_csv_is_what_training_uses(lrtrack):
    """The very floats of `lrtrack.simulate`, a column a spec."""
    result = lrtrack("preview", *SPECS, "--steps", "50", "--lr", "0.3", "--format", "csv")
    rows = list(csv.DictReader(result.stdout.splitlines()))

    for spec in SPECS:
        assert [float(row[spec]) for row in rows] == simulate(spec, 50, lr=0.3)[:, 0].tolist()


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("a.png", b"\x89PNG"),
        ("a.svg", b"<?xml"),
        ("a.HTML", b"<!doctype html>"),
        ("a.csv", b"step,"),
        ("a.txt", b"Learning rate over 100 steps"),
    ],
)
def test_the_suffix_decides_the_format(lrtrack, clean_place: Path, name, begins):
    """And the file is all that is written."""
    result = lrtrack("preview", SPECS[0], "--steps", "100", "-o", name)

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"Wrote {name}\n")
    assert (clean_place / name).read_bytes().startswith(begins)


def test_format_counts_more_than_the_suffix(lrtrack, clean_place: Path):
    """What is said is done."""
    lrtrack("preview", "cosine", "--steps", "9", "--format", "csv", "-o", "a.data")

    assert len((clean_place / "a.data").read_text().splitlines()) == 10


def test_seconds_per_step(lrtrack):
    """Decay with time is previewed at a pace, and says which."""
    arguments = ("preview", "time(half_life=60)", "--steps", "3", "--seconds-per-step", "60")
    rows = lrtrack(*arguments, "--format", "csv").stdout.splitlines()

    assert rows[1:] == ["0,0.1", "1,0.05", "2,0.025"]
    assert "time: as at 60 s a step" in lrtrack(*arguments).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("cosin", "--steps", "9"), "Did you mean 'cosine'"),
        (("step(steps=3", "--steps", "9"), "step(steps=3\n              ^"),
        (("onecycle(max_lr=1, steps=3)", "--steps", "9"), "cannot be simulated for 9 steps"),
        (("step(steps=3, lasts=9)", "--steps", "9"), "step is the last schedule"),
        (("cosine", "--steps", "0"), "Invalid value for '--steps'"),
        (("cosine", "--steps", "1000000000"), "Fix: simulate at most 10,000,000 steps"),
        (("step(steps=3, gamma=x)", "--steps", "9"), "gamma must be a number"),
        (("cosine",), "Missing option '--steps'"),
        (("--steps", "9"), "Missing argument 'SPEC...'"),
        (("cosine", "--steps", "9", "-o", "a.jpg"), "Known: .txt, .csv, .html, .htm, .png, .svg"),
    ],
)
def test_mistakes(lrtrack, arguments, words):
    """Wrong usage: exit status 2, what was wrong, no traceback, nothing on stdout."""
    result = lrtrack("preview", *arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_a_file_that_cannot_be_written(lrtrack):
    """Exit status 1, and why."""
    result = lrtrack("preview", "cosine", "--steps", "9", "-o", "nowhere/a.png")

    assert result.exit_code == 1
    assert "Cannot write nowhere/a.png: No such file or directory" in result.stderr


def test_a_png_is_not_thrown_at_a_terminal():
    """On a pipe it is written, on a terminal refused."""
    code = "from lrtrack.cli import main; main(prog_name='lrtrack')"
    command = [sys.executable, "-c", code, "preview", "cosine", "--steps", "9", "--format", "png"]
    screen, terminal = os.openpty()
    refused = subprocess.run(command, stdout=terminal, stderr=subprocess.PIPE)
    os.close(screen)
    os.close(terminal)
    piped = subprocess.run(command, capture_output=True, check=True)

    assert refused.returncode == 2
    assert b"write it to a file with -o" in refused.stderr
    assert piped.stdout.startswith(b"\x89PNG")
