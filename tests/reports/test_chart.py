"""The chart of characters below the table."""

from __future__ import annotations

import os
import pty
import struct
import termios
from fcntl import ioctl

import pytest
from rich.cells import cell_len

from lrtrack.errors import UsageError
from lrtrack.reports import chart
from lrtrack.reports.document import Document
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories

CONSTANT, STEP = Schedule("constant"), Schedule("StepLR")
NAN = float("nan")


def compared(*histories):
    """A comparison by loss."""
    return compare_histories(list(histories), experiment="e", metric="loss")


def lines(comparison, width=80, axis="step", dotted=False, unicode=True) -> list[str]:
    """The chart as text."""
    found = chart.lines_of(Document(comparison), width, axis=axis, dotted=dotted, unicode=unicode)
    return [line.plain.rstrip() for line in found]


def test_two_means(run_of):
    """Each mean has its sign and its height over the whole width, with the scale at the left."""
    found = lines(compared(
        run_of(CONSTANT, 0, loss=[3.0] * 11), run_of(CONSTANT, 1, loss=[5.0] * 11),
        run_of(STEP, 0, loss=[2.0] * 11),
    ))  # fmt: skip

    assert found[1] == "loss by step, mean over runs"
    assert found[2] == "      4.00┤" + "+" * 69
    assert found[13] == "      2.00┤" + "*" * 69
    assert found[15].split() == ["0", "5", "10"]
    assert found[16] == "* StepLR   + constant"


def test_a_shorter_schedule_ends_where_it_ends(run_of):
    """A curve ends at its schedule's last step."""
    found = lines(compared(
        run_of(CONSTANT, 0, loss=[1.0] * 101), run_of(STEP, 0, loss=[0.0] * 51)
    ))  # fmt: skip

    assert found[2].count("+") == 69
    assert found[13].count("*") == pytest.approx(35, abs=1)


def test_large_beginnings_are_drawn_on_a_logarithm(run_of):
    """Values that a linear axis would flatten are drawn on a log scale."""
    found = lines(compared(run_of(CONSTANT, 0, loss=[1000.0, 10.0, 1.0, 1.0, 1.0, 1.0])))

    assert found[2].startswith("      1000┤")
    assert found[8].startswith("      31.6┤")


def test_it_fits_and_names_no_more_than_it_draws(run_of):
    """At most the six best schedules are drawn and named, with names cut to the width."""
    comparison = compared(*(
        run_of(Schedule("学习率" * 30, {"k": k}), 0, loss=[1.0 + k] * 3) for k in range(8)
    ))  # fmt: skip
    found = lines(comparison, 70)

    assert max(map(cell_len, found)) <= 70
    assert found[1].endswith("the best 6 of 8")
    assert [line[0] for line in found[16:]] == list("*+ox#@")


@pytest.mark.parametrize("losses", [[0.5], [1.0, NAN], [0.0, 0.0], [None, 2.0]])
def test_odd_runs(run_of, losses):
    """A single value is a dot; without finite values there is no chart."""
    found = lines(compared(run_of(CONSTANT, 0, loss=losses)))

    assert bool(found) == (losses != [1.0, NAN])
    assert "*" in "".join(found[2:14]) or not found


def test_ascii_and_braille(run_of):
    """Without colours curves consist of ASCII signs, with colours of braille dots."""
    comparison = compared(run_of(CONSTANT, 0, loss=[1.0, 0.5]))

    assert "".join(lines(comparison, unicode=False)).isascii()
    assert any("⠀" < sign <= "⣿" for sign in "".join(lines(comparison, dotted=True)))


def test_signs_beside_colours(run_of):
    """With colours each curve has its sign, too, on its line and in the legend."""
    found = lines(compared(
        run_of(CONSTANT, 0, loss=[3.0] * 11), run_of(STEP, 0, loss=[2.0] * 11),
    ), dotted=True)  # fmt: skip
    assert found[2].partition("┤")[2].count("+") == 4
    assert found[13].partition("┤")[2].count("*") == 4
    assert found[16] == "* StepLR   + constant"


@pytest.fixture
def terminal():
    """Opens a pseudo-terminal of a given size and returns what was written to it."""
    opened = []

    def make(rows: int, columns: int):
        master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        file = os.fdopen(slave, "w", encoding="utf-8")
        opened.append((master, file))

        def said() -> str:
            print("that was all", file=file, flush=True)
            found = b""
            while b"that was all" not in found:  # a terminal gives what is written piece by piece
                found += os.read(master, 100_000)
            return found.decode()

        return file, said

    yield make
    for master, file in opened:
        file.close()
        os.close(master)


@pytest.mark.parametrize(
    ("rows", "columns", "drawn"), [(50, 100, True), (27, 100, False), (50, 59, False)]
)
def test_only_where_there_is_room(run_of, terminal, monkeypatch, rows, columns, drawn):
    """The chart appears only on a terminal that has room for it and the table."""
    monkeypatch.delenv("COLUMNS", raising=False)
    comparison = compared(run_of(CONSTANT, 0, loss=[1.0, 0.5]))
    file, said = terminal(rows, columns)
    chart.write(Document(comparison), file, used=10)

    assert ("loss by step" in said()) == drawn


def test_a_metric_as_the_axis(run_of):
    """The chart runs over the metric, whose ends are written as amounts."""
    comparison = compare_histories(
        [run_of(CONSTANT, 0, loss=[1.0, 0.5], tokens=[1e6, 2.5e9])],
        experiment=None, metric="loss", x="tokens",
    )  # fmt: skip
    found = lines(comparison, axis="tokens")

    assert found[1] == "loss by tokens, mean over runs"
    assert "".join(found).count("1 M") == 1
    assert "2.5×10⁹" in "".join(found)


def test_an_axis_that_is_not_there(run_of, tmp_path):
    """A missing epoch axis is an error, also without a terminal."""
    comparison = compared(run_of(CONSTANT, 0, loss=[1.0, 0.5]))
    with (tmp_path / "out").open("w") as file:
        with pytest.raises(UsageError, match="There is no epoch axis"):
            chart.write(Document(comparison), file, used=10, axis="epoch")
        chart.write(Document(comparison), file, used=10)

    assert (tmp_path / "out").read_text() == ""
