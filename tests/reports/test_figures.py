"""Comparisons as PNG and SVG."""

from __future__ import annotations

import struct
import sys
import xml.etree.ElementTree as ElementTree
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from lrtrack.errors import UsageError
from lrtrack.reports import matplotlib_setup, pictures
from lrtrack.reports.document import Document
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories

CONSTANT = Schedule("constant")
#: Names as users give them, which matplotlib would read as mathematics.
NASTY = "$x_1$ a_b \\frac{1}"
NAN = float("nan")
UNITS = ("Steps", "Seconds")


def compared(*histories):
    """A comparison by loss."""
    return compare_histories(list(histories), experiment="e", metric="loss")


def texts(picture: bytes) -> list[str]:
    """All text in an SVG."""
    return [(node.text or "").strip() for node in ElementTree.fromstring(picture).iter()]


def test_a_picture_says_what_the_table_says(comparison):
    """A picture has headline, panels and short names, and always the same bytes."""
    found = pictures.render(Document(comparison), "svg")
    said = texts(found)

    assert any(text.startswith("constant has the lowest final loss") for text in said)
    assert {"loss", "learning rate", "gradient norm", "step", "StepLR(step_size=30)"} <= set(said)
    assert found == pictures.render(Document(comparison), "svg")


@pytest.mark.parametrize(
    ("options", "titles"),
    [
        ({}, []),
        ({"task": "config.data"}, ["Scores over tasks"]),
        ({"task": "config.data", "target": 1.5},
         ["Scores over tasks", *(f"{unit} to the target over tasks" for unit in UNITS)]),
        ({"tune": "config.data"}, ["The best of k values"]),
    ],
)  # fmt: skip
def test_small_charts(run_of, saved, options, titles):
    """Comparisons over tasks and tuned ones have further panels below the final values."""
    runs = [
        run_of(Schedule(name), seed, config={"data": seed % 2}, loss=[2.0, 1.0 + at + seed / 9])
        for at, name in enumerate(("StepLR", "CyclicLR"))
        for seed in range(4)
    ]
    comparison = compare_histories(runs, experiment="e", metric="loss", **options)
    pictures.render(Document(comparison), "svg")
    (figure,) = saved
    panels = figure.axes[2:]

    assert [axes.get_title(loc="left") for axes in panels] == titles
    assert [len(axes.lines) for axes in panels] == [2] * len(titles)


def test_a_pdf_is_the_same_picture(comparison):
    """A PDF is written without the time, so that the same comparison gives the same bytes."""
    found = pictures.render(Document(comparison), "pdf")

    assert found.startswith(b"%PDF")
    assert found == pictures.render(Document(comparison), "pdf")


def test_a_png_has_its_width(comparison):
    """A PNG is 11 inches wide at 144 dpi, and each metric adds a panel."""
    found = pictures.render(Document(comparison), "png")
    width, height = struct.unpack(">II", found[16:24])

    assert (found[:4], width) == (b"\x89PNG", 1584)
    assert 1000 < height < 2000


def test_names_are_no_mathematics_and_may_be_chinese(run_of):
    """Dollar signs, backslashes and scripts without a font are drawn without a warning."""
    names = ("$x_1$ \\frac", "学习率调度器", "_hidden", "L" * 200)
    comparison = compared(*(run_of(Schedule(name), 0, loss=[1.0, 0.5]) for name in names))
    said = texts(pictures.render(Document(comparison), "svg"))

    assert {"$x_1$ \\frac", "学习率调度器", "_hidden", "L" * 47 + "…"} <= set(said)
    assert pictures.render(Document(comparison), "png").startswith(b"\x89PNG")


def test_of_many_schedules_the_best_are_drawn(run_of):
    """A picture shows only the best of many schedules, and says so."""
    runs = [run_of(Schedule("StepLR", {"k": k}), 0, loss=[1.0 + k]) for k in range(60)]
    said = texts(pictures.render(Document(compared(*runs)), "svg"))

    assert [text for text in said if text.startswith("StepLR(") and text.endswith(")")] == [
        f"StepLR(k={k})" for k in range(pictures.MOST)
    ]
    assert "the best 16 of 60 schedules" in " ".join(said)


@pytest.mark.parametrize(
    "metrics",
    [
        {"loss": [0.5], "lr": [0.1]},
        {"loss": [1.0, NAN], "lr": [0.1, 0.1], "grad_norm": [NAN, NAN]},
        {"loss": [0.0, 0.0]},
        {"loss": [None, 1.0], "lr": [0.1, 0.1]},
        {"loss": [1e308, -1e308]},
    ],
)
def test_odd_runs_are_drawn(run_of, metrics):
    """Single steps, non-finite, zero, tiny and huge values can be drawn."""
    comparison = compared(*(run_of(CONSTANT, seed, **metrics) for seed in range(3)))

    assert pictures.render(Document(comparison), "png", axis="time").startswith(b"\x89PNG")


def test_long_runs_stay_small(run_of):
    """A picture of 100 runs with 5,000 steps is smaller than 2 MB."""
    rng = np.random.default_rng(0)
    comparison = compared(*(
        run_of(Schedule("StepLR", {"k": k // 10}), k, loss=rng.random(5000)) for k in range(100)
    ))  # fmt: skip

    assert len(pictures.render(Document(comparison), "svg")) < 2_000_000


def test_epochs_only_where_there_are_some(run_of):
    """The epoch axis is titled; without epochs it is an error that says what to do."""
    known = compared(run_of(CONSTANT, 0, loss=[1.0, 0.5], config={"steps_per_epoch": 1}))

    assert "epoch" in texts(pictures.render(Document(known), "svg", axis="epoch"))
    with pytest.raises(UsageError, match="steps_per_epoch"):
        pictures.render(Document(compared(run_of(CONSTANT, 0, loss=[1.0]))), "svg", axis="epoch")


def test_no_global_figure_is_made(comparison):
    """Figures that the user has open in pyplot are not touched."""
    pictures.render(Document(comparison), "png")

    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


@pytest.fixture
def saved(monkeypatch) -> list[Any]:
    """Every matplotlib figure that is saved, after drawing."""
    kept: list[Any] = []
    save = Figure.savefig

    def savefig(self: Figure, *args: Any, **options: Any) -> None:
        save(self, *args, **options)
        kept.append(self)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return kept


def visible(figure: Figure) -> list[Text]:
    """All visible text of a drawn figure: ticks, axis labels, titles, legends."""
    drawn = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    assert {text.get_parse_math() or text.get_usetex() for text in drawn} == {False}
    return drawn


def in_plain_words(label: str) -> float:
    """The value of a tick label such as `1,000`, `0.05` or `2×10⁻⁵`."""
    plain = label.replace(",", "").replace("−", "-")
    mantissa, _, power = plain.rpartition("10⁻") if "⁻" in plain else plain.rpartition("10")
    digits = power.translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789"))
    if digits == power:
        return float(plain)
    sign = "-" if "⁻" in plain else ""
    return float(f"{mantissa.rstrip('×') or 1}e{sign}{digits}")


@pytest.mark.parametrize(
    "settings", [{}, {"text.usetex": True, "axes.formatter.use_mathtext": True}]
)
@pytest.mark.parametrize("form", ["png", "svg"])
def test_every_text_of_a_picture_is_plain(run_of, saved, form, settings):
    """No text is interpreted as TeX, also on log axes and with the user's matplotlibrc."""
    fall = np.geomspace(9.0, 2e-7, 60)
    runs = [
        run_of(Schedule(NASTY, {"k": k}), k, loss=k + fall, grad_norm=1e6 * fall, lr=fall,
               **{NASTY: fall})
        for k in range(2)
    ]  # fmt: skip
    comparison = compare_histories(runs, experiment=NASTY, metric=NASTY, mode="min")
    with matplotlib.rc_context(settings):
        picture = pictures.render(Document(comparison), form)
    (figure,) = saved
    words = [text.get_text() for text in visible(figure)]
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    log = {title for title, axes in panels.items() if axes.get_yscale() == "log"}

    assert {NASTY, "gradient norm"} <= log
    assert not [text for text in words if "mathdefault" in text or "10^" in text]
    assert sum(NASTY in text for text in words) >= 5  # title, headline, panel, two schedules
    for title in log:
        ticks = panels[title].yaxis.get_major_ticks()
        labels = {
            tick.label1.get_text(): tick.get_loc() for tick in ticks if tick.label1.get_text()
        }
        assert len(labels) > 2
        assert [in_plain_words(label) for label in labels] == pytest.approx([*labels.values()])
    if form == "svg":
        written = [node for node in ElementTree.fromstring(picture).iter()
                   if node.tag.rpartition("}")[2] in ("text", "tspan")]  # fmt: skip
        lines = {line for text in words for line in text.splitlines()}
        assert {NASTY, "step", "10⁻⁵"} <= {node.text for node in written if node.text} <= lines


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
