"""`lrtrack compare` into HTML and pictures, and in the user's browser."""

import os
import subprocess
import sys

import pytest

from lrtrack.schedules import Schedule

LOCAL = ("compare", "--tracker", "local", "--experiment", "digits")


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("r.html", b"<!doctype html>"),
        ("R.HTM", b"<!doctype html>"),
        ("r.png", b"\x89PNG"),
        ("r.svg", b"<?xml"),
        ("r.pdf", b"%PDF"),
    ],
)
def test_the_suffix_decides(lrtrack, digits, clean_place, name, start):
    """The file is written whole; stdout stays empty."""
    result = lrtrack(*LOCAL, "--output", name)

    assert (0, "", f"Wrote {name}\n") == (result.exit_code, result.stdout, result.stderr)
    assert (clean_place / name).read_bytes().startswith(start)


def test_one_panel_in_the_size_of_a_column(lrtrack, digits):
    """`--panel` and `--figure-size` draw one panel as wide as a column of a paper."""
    result = lrtrack(*LOCAL, "--format", "svg", "--panel", "loss", "--figure-size", "single")

    assert result.exit_code == 0
    assert 'width="237.6pt"' in result.stdout  # 3.3 inches
    assert "final loss" not in result.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "svg", "--panel", "los"), "Unknown panel 'los'. Did you mean 'loss'?"),
        (("--format", "csv", "--panel", "loss"), "csv is none"),
        (("--output", "r.png", "--figure-size", "wide"), "'wide' is no figure size."),
    ],
)
def test_panels_and_sizes_that_do_not_exist(lrtrack, digits, options, message):
    """An unknown panel or size, and one for a format without pictures, are wrong usage."""
    result = lrtrack(*LOCAL, *options)

    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_html_on_stdout(lrtrack, digits):
    """Without a file, the page is what the command prints."""
    result = lrtrack(*LOCAL, "--format", "html", "--x", "time")

    assert result.stdout.startswith("<!doctype html>")
    assert '"axis":"time"' in result.stdout


def test_epochs(lrtrack, journal):
    """`--x epoch` leaves out runs that do not say what an epoch is; without any it is an error."""
    journal(Schedule("constant"), [1.0, 0.5], config={"steps_per_epoch": 1})
    known = lrtrack(*LOCAL, "--x", "epoch", "--format", "html")
    journal(Schedule("constant"), [1.0, 0.5], 1)
    partly = lrtrack(*LOCAL, "--x", "epoch", "--format", "html")
    unknown = [
        lrtrack(*LOCAL, "--filter", "seed = 1", "--x", "epoch", "--format", form)
        for form in ("html", "svg", "table", "csv")
    ]

    assert '"axis":"epoch"' in known.stdout
    assert '"over":{"axis":"epoch"' in partly.stdout
    assert "1 of 2 runs do not say what an epoch is (constant-1)" in partly.stdout
    assert [item.exit_code for item in unknown] == [1, 1, 1, 1]
    assert all("run.log(epoch=...)" in item.stderr for item in unknown)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("table", "1 2.05 M"),
        ("markdown", "| 2.05 M |"),
        ("csv", "tokens,2,2050000.0,,2"),
        ("json", '"metric": "tokens"'),
        ("html", '"axis":"metric"'),
        ("svg", ">tokens<"),
    ],
)
def test_a_metric_as_the_axis(lrtrack, journal, form, text, monkeypatch):
    """Every format says how many tokens it took to reach the target."""
    monkeypatch.setenv("COLUMNS", "200")
    for seed in range(2):
        journal(Schedule("constant"), [1.0, 0.5], seed, more={"tokens": [1e6, 2e6 + seed * 1e5]})
    result = lrtrack(*LOCAL, "--x", "tokens", "--target", "0.5", "--format", form)

    assert result.exit_code == 0, result.output
    assert text in " ".join(result.stdout.split())


@pytest.fixture
def browser(clean_place, monkeypatch):
    """A program in place of the browser that notes what it was asked to open; the note's path."""
    note = clean_place / "opened"
    script = clean_place / "browser.sh"
    script.write_text(f'#!/bin/sh\necho "$1" > {note}\n')
    script.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{script} %s")
    monkeypatch.setenv("TMPDIR", str(clean_place))
    return note


def run(*arguments):
    """The command in a process of its own, as `webbrowser` reads BROWSER once."""
    code = "from lrtrack.cli import main; main(prog_name='lrtrack')"
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        env=os.environ, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("output", ["my report.html", "a.svg", None])
def test_open(digits, browser, clean_place, output):
    """The written file is opened; without one, an HTML file that stays until the user is done."""
    result = run(*LOCAL, "--open", *(() if output is None else ("--output", output)))
    url = browser.read_text().strip()

    assert (result.returncode, result.stdout) == (0, "")
    if output is not None:
        assert url == (clean_place / output).as_uri()
    else:
        found = next(clean_place.glob("lrtrack-*/report.html"))
        assert url == found.as_uri()
        assert result.stderr == f"Wrote {found}\n"


@pytest.mark.parametrize("arguments", [("--format", "csv"), ("--output", "r.md")])
def test_open_what_no_browser_shows(lrtrack, clean_place, arguments):
    """Wrong usage, before anything is read or written."""
    result = lrtrack(*LOCAL, "--open", *arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "only html, svg, png, pdf" in result.stderr
    assert list(clean_place.iterdir()) == []
