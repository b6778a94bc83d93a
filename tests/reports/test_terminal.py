"""Reports on terminals of every width and kind."""

import contextlib
import io
import os
import pty

import pytest
from rich.cells import cell_len

from lrtrack.reports import terminal
from lrtrack.reports.report import report_of
from lrtrack.reports.runs import runs_report
from lrtrack.reports.table import Cell, Column, Report
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160, 300])
def test_no_line_is_too_wide(comparison, width):
    """Every line fits, and every schedule keeps its rank and its final value."""
    lines = terminal.text(report_of(comparison), width).splitlines()

    assert max(map(cell_len, lines)) <= width
    for row in report_of(comparison).rows:
        assert any(line.lstrip().startswith(row[0].text) and row[3].short in line for line in lines)


def test_the_table_at_80_columns(comparison):
    """At 80 columns numbers are whole and aligned, and labels break between words."""
    lines = terminal.text(report_of(comparison), 80).splitlines()
    expected = [
        "                                                  steps",
        "#  schedule                       runs   final   to 0.3                  vs best",
        "─" * 80,
        "1  constant                          3  0.1100        1                        –",
        "2  StepLR(step_size=30)           2/3*  0.2050        1     0.100 [0.090, 0.110]",
        "3  StepLR(step_size=60)              3  0.3100  – (0/3)  0.2000 [0.1913, 0.2087]",
        "4  OneCycleLR                      2/3  0.4100  – (0/3)     0.300 [0.290, 0.310]",
        "5  SequentialLR(LinearLR →           3  0.5100  – (0/3)  0.4000 [0.3913, 0.4087]",
        "   CosineAnnealingLR(",
        "   eta_min=0.0))",
    ]

    assert expected == [line.rstrip() for line in lines[4:14]]


def test_narrow_tables_leave_out_columns_by_weight(comparison):
    """Narrow tables drop the columns with the largest weights, and a note says so."""
    narrow = terminal.text(report_of(comparison), 60)

    assert "[0.2000, 0.2200]" not in narrow
    assert "0.2050" in narrow
    assert "Shortened to fit" in narrow


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (22, ["name   long    p  q", "x     1 ± 2  0.5  7"]),
        (18, ["name   long    p", "x     1 ± 2  0.5"]),
        (15, ["name  a    p  q", "x     1  0.5  7"]),
    ],
)
def test_numbers_that_hold_their_long_form(width, expected):
    """The long form outlives heavier columns, is given up before others, and lets them return."""
    columns = (
        Column("name", lambda text: Cell("x"), number=False),
        Column("long", lambda text: Cell("1 ± 2", "1"), holds=3, short_title="a"),
        Column("p", lambda text: Cell("0.5"), weight=3),
        Column("q", lambda text: Cell("7"), weight=4),
    )
    report = Report("", "", columns, (tuple(column.cell("") for column in columns),))
    lines = terminal.text(report, width).splitlines()

    assert [line.rstrip() for line in lines if line.strip()][::2] == expected


def test_columns_that_belong_together():
    """Columns of one group are dropped together, not one of them alone."""
    columns = (
        Column("name", lambda text: Cell("x"), number=False),
        *(Column(f"task{at}", lambda text: Cell("1"), weight=5, group="tasks") for at in range(3)),
    )
    report = Report("", "", columns, (tuple(column.cell("") for column in columns),))

    assert "task" not in terminal.text(report, 22)
    assert terminal.text(report, 26).count("task") == 3


def test_wide_tables_show_all(comparison):
    """A table with enough room has all columns and no note about it."""
    wide = terminal.text(report_of(comparison), 300)

    assert "[0.0888, 0.1312]" in wide
    assert "steps/s" in wide
    assert "Shortened to fit" not in wide


def test_markup_is_not_interpreted():
    """Text that looks like rich's markup, emoji or links is shown literally."""
    text = "[bold]x[/bold] :smile: [link=http://a]b[/link] [/]"
    report = Report(
        text, text, (Column("t", Cell, number=False),), ((Cell(text),),), (text,), (text,)
    )

    assert terminal.text(report, 120).count(text) == 5


def test_a_file_without_unicode_gets_ascii(comparison, monkeypatch):
    """Characters that the encoding lacks are replaced by aligned ASCII."""
    monkeypatch.setenv("COLUMNS", "100")
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="")
    terminal.write(report_of(comparison), file)
    file.flush()
    found = file.buffer.getvalue().decode("ascii")

    assert "0.1100 +/- 0.0100" in found
    assert "LinearLR ->" in found
    assert "?" not in found


def test_large_amounts_in_ascii(run_of):
    """A power of ten is written as computers do where the encoding lacks superscripts."""
    comparison = compare_histories(
        [run_of(Schedule("constant"), 0, loss=[1.0, 0.5], tokens=[1e9, 2.05e12])],
        experiment=None, metric="loss", target=0.5, x="tokens",
    )  # fmt: skip
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="")
    terminal.write(report_of(comparison), file)
    file.flush()

    assert "2.05e12" in file.buffer.getvalue().decode("ascii")
    assert "2.05×10¹²" in terminal.text(report_of(comparison))


def test_width_of_a_pipe():
    """`COLUMNS` sets the width; without it, a pipe is 80 columns wide."""
    assert terminal.width_of(io.StringIO(), {}) == 80
    assert terminal.width_of(io.StringIO(), {"COLUMNS": "132"}) == 132
    assert terminal.width_of(io.StringIO(), {"COLUMNS": "wide"}) == 80


@pytest.mark.parametrize(("no_color", "coloured"), [(None, True), ("1", False)])
def test_colours_only_where_wanted(comparison, monkeypatch, no_color, coloured):
    """A terminal gets colours, unless NO_COLOR is set."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    reader, writer = pty.openpty()
    with os.fdopen(writer, "w", encoding="utf-8") as file:
        terminal.write(report_of(comparison), file)
    found = b""
    with contextlib.suppress(OSError):  # how the end of a terminal reads
        while part := os.read(reader, 65536):
            found += part
    os.close(reader)

    assert coloured == (b"\x1b[1;32m" in found)


def test_a_pipe_has_no_colours(comparison):
    """A pipe gets plain text."""
    file = io.StringIO()
    terminal.write(report_of(comparison), file)

    assert "\x1b" not in file.getvalue()


def test_long_texts_end_in_an_ellipsis():
    """Text that does not fit into three lines is cut and ends in an ellipsis."""
    report = Report("t", "h", (Column("name", Cell, number=False),), ((Cell("x" * 200),),))
    lines = terminal.text(report, 30).splitlines()

    assert sum("xxx" in line for line in lines) == 3
    assert any(line.rstrip().endswith("…") for line in lines)


def test_the_list_of_runs(comparison, histories):
    """Runs are listed with their state and the short labels of their schedules."""
    found = terminal.text(runs_report(histories(), "digits", "loss"), 160)

    assert "digits · 18 runs\n1 running, 1 diverged, on " in found
    assert "OneCycleLR-1" in found


@pytest.mark.parametrize(
    ("width", "line"), [(12, "n=3"), (22, "n=3"), (23, "the long form of n=3")]
)
def test_a_numbers_short_form(width, line):
    """A column of numbers has the width of its short forms, unless the long ones fit."""
    cells = (Cell("1"), Cell("the long form of n=3", "n=3"))
    report = Report("t", "h", (Column("#", Cell), Column("p", Cell)), (cells,))
    lines = terminal.text(report, width).splitlines()
    rule = next(found for found in lines if found.startswith("─"))

    assert any(found == f"1  {line}" for found in lines)
    assert len(rule) == len(f"1  {line}")
