"""The text of every picture that lrtrack draws, in every format, above all that of the ticks."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
from fixtures import pdf_text
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator

import lrtrack
from lrtrack.reports import matplotlib_setup, pictures
from lrtrack.reports.document import Document
from lrtrack.reports.preview import picture, preview_of
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories

FORMS = ("png", "svg", "pdf")
#: Names as users give them, which matplotlib would read as mathematics.
NASTY = "$x_1$ a_b \\frac{1}"
_SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def written(content: bytes, form: str) -> set[str] | None:
    """All text in a file; None for a PNG, which has pixels."""
    if form == "svg":
        return {(node.text or "").strip() for node in ElementTree.fromstring(content).iter()}
    return {text.strip() for text in pdf_text.texts(content)} if form == "pdf" else None


def in_plain_words(label: str) -> float:
    """The value of a tick label such as `1,000`, `−0.05` or `2×10⁻⁵`."""
    number = re.fullmatch("(?:(.+)×)?10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", label)
    if number is None:
        return float(label.replace(",", "").replace("−", "-"))
    mantissa = (number[1] or "1").replace("−", "-")
    return float(f"{mantissa}e{number[2].translate(_SUPERSCRIPTS)}")


def ticks(figure: Figure) -> list[tuple[str, float, bool]]:
    """Text and place of each labelled tick of all axes of numbers, and whether it is in view."""
    found = []
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        assert axis.get_offset_text().get_text() == ""
        if isinstance(axis.get_major_locator(), FixedLocator):
            continue  # names of schedules
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            text, place = tick.label1.get_text(), float(tick.get_loc())
            if text:
                found.append((text, place, low <= place <= high))
    return found


def check(figure: Figure, content: bytes, form: str) -> list[str]:
    """Checks that each tick says where it is, and in a file with text is there as it should be.

    Returns:
        The labels.
    """
    labels = ticks(figure)
    places = [place for _, place, _ in labels]
    assert [in_plain_words(text) for text, _, _ in labels] == pytest.approx(places, rel=1e-3)
    texts = written(content, form)
    if texts is not None:
        assert {text for text, _, shown in labels if shown} <= texts
        assert not [text for text in texts if "mathdefault" in text or "10^" in text]
    return [text for text, _, _ in labels]


@pytest.fixture(scope="module")
def odd_scales(run_of):
    """A comparison with log and linear panels, tiny rates, and names that look like TeX."""
    fall = np.geomspace(9.0, 2e-7, 60)
    runs = [
        run_of(Schedule(NASTY, {"k": k}), seed, loss=k + fall + seed / 99, grad_norm=1e6 * fall,
               lr=1e-5 * np.linspace(1.0, 0.0, 60), **{NASTY: fall})
        for k in range(2) for seed in range(2)
    ]  # fmt: skip
    return Document(compare_histories(runs, experiment=NASTY, metric=NASTY, mode="min"))


@pytest.mark.parametrize("form", FORMS)
def test_every_tick_of_a_comparison_says_where_it_is(odd_scales, saved, form):
    """Ticks of all axes have plain text in all formats, with the user's matplotlibrc, too."""
    with matplotlib.rc_context({"text.usetex": True, "axes.formatter.use_mathtext": True}):
        content = pictures.render(odd_scales, form)
    (figure,) = saved
    labels = check(figure, content, form)
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    log = {title for title, axes in panels.items() if axes.get_yscale() == "log"}

    assert {"10⁶", "10⁻⁴", "0.2×10⁻⁵"} <= set(labels)
    assert {NASTY, "gradient norm"} <= log
    assert panels["learning rate"].get_yscale() == "linear"


def test_no_text_is_mathematics(odd_scales, saved):
    """Names with dollar signs and backslashes are drawn as they are, and no text is small."""
    pictures.render(odd_scales, "svg")
    (figure,) = saved
    drawn = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]

    assert {text.get_parse_math() or text.get_usetex() for text in drawn} == {False}
    assert sum(NASTY in text.get_text() for text in drawn) >= 5
    assert min(text.get_fontsize() for text in drawn) >= 6.0


@pytest.mark.parametrize("form", FORMS)
def test_every_tick_of_a_preview_says_where_it_is(saved, form):
    """A preview of tiny rates has its power of ten at each tick, not in a corner."""
    preview = preview_of({"linear(steps=99)": np.linspace(2e-5, 0.0, 100)}, 2e-5, 1.0)
    content = picture.render(preview, form)

    assert "2.00×10⁻⁵" in check(saved[0], content, form)


@pytest.mark.parametrize("form", FORMS)
def test_every_tick_of_a_range_test_says_where_it_is(form):
    """The plot of `find_lr` has plain ticks, in a figure of the user's own."""
    rates = np.geomspace(1e-7, 10.0, 50)
    losses = 1e-5 * (2.0 - np.exp(-((np.log10(rates) + 1.0) ** 2)))
    result = lrtrack.LRFinderResult(rates, losses, losses, {"minimum": 0.01}, "end")
    figure, file = Figure(), io.BytesIO()
    result.plot(figure.subplots())
    with matplotlib.rc_context({"svg.fonttype": "none", "pdf.fonttype": 42}):
        figure.savefig(file, format=form)

    assert {"10⁻⁶", "0.01", "1.2×10⁻⁵"} <= set(check(figure, file.getvalue(), form))


def test_fonts_are_embedded_or_named(odd_scales):
    """A PDF has its fonts inside as TrueType; an SVG names a generic family after its own."""
    pdf = pictures.render(odd_scales, "pdf", panel="lr")
    svg = pictures.render(odd_scales, "svg", panel="lr").decode()

    assert b"/FontFile2" in pdf
    assert b"/Subtype /Type3" not in pdf
    assert "sans-serif" in svg
    assert "<text" in svg


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, "1"), (1000.0, "1,000"), (5000, "5,000"), (9.9999, "10"), (0.001, "0.001"),
        (0.35, "0.35"), (1e4, "10⁴"), (2e-5, "2×10⁻⁵"), (1e-300, "10⁻³⁰⁰"),
        (12345678.0, "1.235×10⁷"),
    ],
)  # fmt: skip
def test_ticks_of_logarithmic_axes(value, expected):
    """Ticks have plain digits near one and otherwise powers of ten in Unicode."""
    assert expected == matplotlib_setup.tick_text(value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], ["0.0", "0.5", "1.0"]),
        ([0.97, 0.975], ["0.970", "0.975"]),
        ([-2.0, 0.0], ["−2", "0"]),
        ([0.0, 20_000.0], ["0", "20,000"]),
        ([0.0, 5e-6, 1e-5], ["0.0", "0.5×10⁻⁵", "1.0×10⁻⁵"]),
        ([2e9, 2.5e9], ["2.0×10⁹", "2.5×10⁹"]),
        ([0.0], ["0"]),
        ([], []),
    ],
)
def test_ticks_of_linear_axes(values, expected):
    """Ticks of one axis have the same decimals, and a power of ten where numbers are long."""
    assert expected == matplotlib_setup.tick_texts(values)


@given(
    step=st.sampled_from([1e-9, 2.5e-5, 0.01, 0.25, 1.0, 20.0, 5e7]),
    first=st.integers(-50, 50),
    count=st.integers(2, 8),
)
def test_ticks_of_linear_axes_differ_as_their_values_do(step, first, count):
    """The text of each tick stands for its value, exactly enough for its distance to the next."""
    values = [step * (first + at) for at in range(count)]
    texts = matplotlib_setup.tick_texts(values)

    assert len(set(texts)) == count
    assert [in_plain_words(text) for text in texts] == pytest.approx(values, abs=2e-3 * step)
