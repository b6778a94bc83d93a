"""Previews as text, charts, pictures, pages and CSV."""

from __future__ import annotations

import csv
import html.parser
import io
import struct
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrtrack.reports.preview import Curve, Preview, csvtext, page, picture, preview_of, terminal
from lrtrack.reports.preview import thinned as thin

LINE = np.linspace(1.0, 0.0, 101)
FLAT = np.full(101, 0.5)
NASTY = "constant(a='<script>alert(1)</script>', b='$x_1$')"


def preview(**rates: np.ndarray) -> Preview:
    """A preview of curves by label."""
    return Preview("Rates", [Curve(label, values) for label, values in rates.items()])


def test_what_is_said_of_curves():
    """A preview has a title, notes on assumptions, and each curve's first, highest and last
    rate.
    """
    rates = {
        "plateau": np.full(1000, 0.1),
        "warmup(steps=9) -> time(rate=1)": np.append(np.linspace(0, 0.25, 999), 0.123456),
    }
    found = preview_of(rates, 0.25, 0.5)

    assert found.title == "Learning rate over 1,000 steps, initial rate 0.25"
    assert [note.partition(":")[0] for note in found.notes] == ["plateau", "time"]
    assert "0.5 s a step" in found.notes[1]
    assert found.curves[1].summary == ("0", "0.25", "998", "0.1235")
    assert preview_of({"constant": np.ones(1)}, 1, 1).notes == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=300), st.integers(5, 40))
def test_thinning_keeps_the_extremes(values: list[float], most: int):
    """A chart's points are few, and include the ends, the highest and the lowest rate."""
    rates = np.array(values)
    at, kept = thin(rates, most)

    assert len(at) <= max(most, 2)
    assert np.array_equal(rates[at], kept)
    assert (np.diff(at) > 0).all()
    assert (at[0], at[-1]) == (0, len(values) - 1)
    assert (kept.min(), kept.max()) == (rates.min(), rates.max())


def test_a_chart_of_one_curve():
    """One curve is drawn in braille at 80 columns, with rates at the left and steps below."""
    lines = terminal.text(preview(line=LINE)).splitlines()

    assert lines[0] == "Rates"
    assert [line.partition("┤")[0].strip() for line in lines[2:19]] == [
        "1", *[""] * 7, "0.5", *[""] * 7, "0"
    ]  # fmt: skip
    assert lines[2][11:] == "⠉⠒⠢⣀⡀"
    assert lines[18][11:].strip() == "⠉⠑⠤⢄"
    assert len(lines[18]) == 80
    assert lines[20].split() == ["0", "50", "100"]
    assert lines[23].split() == ["━", "line", "1", "1", "0", "0"]
    assert max(map(len, lines)) <= 80


def test_a_chart_of_several_curves_without_colours():
    """Without colours each curve has its own sign, which the legend explains."""
    text = terminal.text(preview(line=LINE, flat=FLAT))
    lines = text.splitlines()

    assert lines[10].endswith("+" * 30)
    assert [line[:6] for line in lines[23:]] == ["* line", "+ flat"]
    assert not any("\u2800" <= sign <= "\u28ff" for sign in text)


def test_a_steep_curve_has_no_holes():
    """A jump is drawn as a continuous line."""
    rates = np.repeat([1.0, 0.0], 50)
    lines = terminal.text(preview(a=rates, b=rates)).splitlines()[2:19]
    columns = list(zip(*(line[11:].ljust(69) for line in lines), strict=True))

    assert max(column.count("+") for column in columns) == len(lines) - 1
    assert min(column.count("+") for column in columns) == 1


@pytest.mark.parametrize("width", [40, 79, 80, 200])
def test_a_chart_fits_its_width(width: int):
    """A chart fits a narrow terminal; long specs are broken without loss."""
    spec = "warmup(steps=100, start=0.01) -> flat_cosine(flat=0.5, min_lr=0.00001)"
    text = terminal.text(preview(**{spec: LINE}), width)

    assert max(map(len, text.splitlines())) <= width
    assert all(word in text for word in spec.split(" "))


class _Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_colours_on_a_terminal_unless_unwanted(monkeypatch):
    """Curves are braille with some signs in colour, or signs alone with NO_COLOR."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured, plain = _Terminal(), _Terminal()
    terminal.write(preview(line=LINE, flat=FLAT), coloured)
    monkeypatch.setenv("NO_COLOR", "1")
    terminal.write(preview(line=LINE, flat=FLAT), plain)

    assert "\x1b[36m⠉⠒" in coloured.getvalue()
    assert "\x1b[33m+ \x1b[0mflat" in coloured.getvalue()
    assert "\x1b[3" not in plain.getvalue()
    assert "\n+ flat" in plain.getvalue()


class _Ascii(io.StringIO):
    encoding = "ascii"


def test_a_terminal_without_unicode_gets_ascii(monkeypatch):
    """A terminal without Unicode gets ASCII signs and lines."""
    monkeypatch.setenv("COLUMNS", "60")
    file = _Ascii()
    terminal.write(preview(**{"line→": LINE}), file)

    assert file.getvalue().isascii()
    assert max(map(len, file.getvalue().splitlines())) <= 60


@pytest.mark.parametrize(
    "rates",
    [np.zeros(5), np.full(5, 0.1), np.array([0.3]), np.array([0.1, 0.2]), np.array([1.0, 1.01])],
)
def test_odd_curves_are_drawn(rates: np.ndarray):
    """Curves that are zero, constant, very short or far from zero can be drawn."""
    text = terminal.text(preview(odd=rates))

    assert any("\u2800" < sign <= "\u28ff" for sign in text)
    assert picture.render(preview(odd=rates), "png").startswith(b"\x89PNG")


def test_a_png_has_its_size():
    """A PNG is 8 × 4.5 inches at 144 dpi, whatever the labels."""
    found = picture.render(preview(**{"line " * 60: LINE, "_hidden $a$": FLAT}), "png")

    assert struct.unpack(">II", found[16:24]) == (2400, 1350)


def test_an_svg_says_its_labels():
    """An SVG has its labels as text, also if matplotlib would interpret or hide them."""
    found = picture.render(preview(**{NASTY: LINE, "_flat": FLAT}), "svg")
    texts = [node.text for node in ElementTree.fromstring(found).iter() if node.text]

    assert {NASTY, "_flat", "Rates", "step", "learning rate"} <= {text.strip() for text in texts}
    assert found == picture.render(preview(**{NASTY: LINE, "_flat": FLAT}), "svg")


class _Page(html.parser.HTMLParser):
    """The tags and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.links += [
            value for key, value in attrs
            if key in ("src", "href", "xlink:href") and not (value or "").startswith("#")
        ]  # fmt: skip

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_a_page_stands_alone_and_escapes():
    """The page contains the picture, loads and runs nothing, and escapes labels."""
    found = _Page(page.render(preview(**{NASTY: LINE})))

    assert found.tags.count("svg") == 1
    assert "script" not in found.tags
    assert found.links == []
    assert NASTY in found.words
    assert found.tags.count("tr") == 2


def test_csv_has_every_step_in_full():
    """CSV has one row per step with unrounded rates, also if a chart would be downsampled."""
    rates = np.random.default_rng(0).random(10_000)
    text = csvtext.render(preview(**{"a, b": rates, "c": rates / 3}))
    head, *rows = csv.reader(io.StringIO(text))

    assert head == ["step", "a, b", "c"]
    assert [int(row[0]) for row in rows] == list(range(10_000))
    assert [float(row[1]) for row in rows] == rates.tolist()
    assert [float(row[2]) for row in rows] == (rates / 3).tolist()
