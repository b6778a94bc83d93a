"""Comparisons as pictures: what is drawn, in which size, and what the captions say."""

from __future__ import annotations

import re
import struct
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from lrtrack.errors import UsageError
from lrtrack.reports import formats, pictures
from lrtrack.reports.document import Document
from lrtrack.reports.figure_size import figure_size_of
from lrtrack.reports.order import by_field
from lrtrack.reports.palette import COLOURS
from lrtrack.reports.pictures.cast import cast_of
from lrtrack.reports.pictures.text import FAINT
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories

CONSTANT = Schedule("constant")
NAN = float("nan")
UNITS = ("Steps", "Seconds")


def compared(*histories):
    """A comparison by loss."""
    return compare_histories(list(histories), experiment="e", metric="loss")


def texts(picture: bytes) -> list[str]:
    """All text in an SVG."""
    return [(node.text or "").strip() for node in ElementTree.fromstring(picture).iter()]


def texts_of(figure: Figure) -> list[str]:
    """The titles and x labels of a figure."""
    return [text for axes in figure.axes for text in (axes.get_title("left"), axes.get_xlabel())]


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
    """Comparisons over tasks and tuned ones have further panels, and titles that are not cut."""
    runs = [
        run_of(Schedule(name), seed, config={"data": seed % 2}, loss=[2.0, 1.0 + at + seed / 9])
        for at, name in enumerate(("StepLR", "CyclicLR"))
        for seed in range(4)
    ]
    comparison = compare_histories(runs, experiment="e", metric="loss", **options)
    pictures.render(Document(comparison), "svg")
    (figure,) = saved
    panels = figure.axes[3:]

    assert [axes.get_title(loc="left") for axes in panels] == titles
    assert [len(axes.lines) for axes in panels] == [2] * len(titles)

    pictures.render(Document(comparison), "svg", size=figure_size_of("single"))
    shown = [text for drawn in saved for text in texts_of(drawn)]
    assert [text for text in shown if text.endswith("…")] == []


def test_a_pdf_is_the_same_picture(comparison):
    """A PDF is written without the time, so that the same comparison gives the same bytes."""
    document = Document(comparison)
    found = pictures.render(document, "pdf", panel="loss")

    assert found.startswith(b"%PDF")
    assert found == pictures.render(document, "pdf", panel="loss")


@pytest.mark.parametrize(
    ("size", "pixels"), [("single", (990, None)), ("double", (2070, None)), ("5x2.5", (1500, 750))]
)
def test_a_png_has_its_size(comparison, size, pixels):
    """Sizes are columns of a paper or inches, at 300 dots per inch."""
    picture = pictures.render(Document(comparison), "png", panel="lr", size=figure_size_of(size))
    width, height = struct.unpack(">II", picture[16:24])

    assert (picture[:4], width) == (b"\x89PNG", pixels[0])
    assert height == pixels[1] or (pixels[1] is None and 600 < height < 900)


@pytest.mark.parametrize("text", ["", "3", "triple", "0x4", "5x400", "-5x3", "1e2x3", "٣x٤"])
def test_what_is_no_size(text):
    """Anything but a column or inches within reason is refused, with what is possible."""
    with pytest.raises(UsageError, match=r"Fix: (use single|give inches)"):
        figure_size_of(text)


def test_a_size_that_is_too_low(comparison):
    """A picture that does not fit is refused, with the height it needs."""
    with pytest.raises(UsageError, match=r"needs 4\.\d inches. Fix: use at least 6x4\.\d, or draw"):
        pictures.render(Document(comparison), "png", size=figure_size_of("6x2"))


def test_names_are_no_mathematics_and_may_be_chinese(run_of):
    """Dollar signs, backslashes and scripts without a font are drawn without a warning."""
    names = ("$x_1$ \\frac", "学习率调度器", "_hidden", "L" * 200)
    comparison = compared(*(run_of(Schedule(name), 0, loss=[1.0, 0.5]) for name in names))
    said = texts(pictures.render(Document(comparison), "svg"))

    assert {"$x_1$ \\frac", "学习率调度器", "_hidden"} <= set(said)
    assert any(re.fullmatch("L{20,100}…", text) for text in said)
    assert pictures.render(Document(comparison), "png").startswith(b"\x89PNG")


def colours(axes) -> list[str]:
    """The colours of the lines with more than one point, without those behind them."""
    return [line.get_color() for line in axes.lines if len(line.get_xdata()) > 1]


def test_of_many_schedules_the_best_are_in_colour(run_of, saved):
    """The best schedules are in colour, others grey behind them, as the caption says."""
    runs = [run_of(Schedule("StepLR", {"k": k}), 0, loss=[9.0, 1.0 + k]) for k in range(60)]
    said = texts(pictures.render(Document(compared(*runs)), "svg"))
    (figure,) = saved
    drawn = colours(figure.axes[0])

    assert drawn[:53] == [FAINT] * 53
    assert sorted(drawn[53:]) == sorted(COLOURS)
    assert [text for text in said if text.startswith("StepLR(") and text.endswith(")")] == [
        *(f"StepLR(k={k})" for k in range(7)),  # the legend
        *(f"StepLR(k={k})" for k in range(20)),  # the rows
    ]
    assert "53 more" in said
    caption = " ".join(said)
    assert "Grey: the other 53 schedules, StepLR(k=7), StepLR(k=8), StepLR(k=9)" in caption
    assert "Rows: the best 20 of 60 schedules." in caption


def test_the_baseline_is_always_in_colour(run_of):
    """The baseline is among the schedules in colour although others are better, by any order."""
    runs = [run_of(Schedule("StepLR", {"k": k}), 0, loss=[1.0 + k]) for k in range(30)]
    comparison = compare_histories(runs, experiment="e", metric="loss", baseline="StepLR(k=29)")
    cast = cast_of(by_field(comparison, "-final"), [str(k) for k in range(30)])

    assert [29 - at for at in cast.looks] == [0, 1, 2, 3, 4, 5, 29]
    assert {29 - at for at in cast.rows} == {*range(19), 29}
    assert len(cast.others) == 23


def test_one_panel_alone(comparison, saved):
    """A panel that is drawn alone has its own title, no headline, and how to read it."""
    said = texts(pictures.render(Document(comparison), "svg", panel="final"))
    (figure,) = saved

    assert [axes.get_title(loc="left") for axes in figure.axes] == ["final loss"]
    assert not [text for text in said if "has the lowest final loss" in text]
    assert any(text.startswith("Final values: runs (dots)") for text in said)
    assert "1 diverged" in said


def test_panels_have_names(run_of):
    """Each panel has a name; another one is refused with the names that there are."""
    runs = [run_of(Schedule(n), 0, loss=[1.0], lr=[0.1]) for n in ("StepLR", "CyclicLR")]
    document = Document(compared(*runs))

    with pytest.raises(UsageError, match=r"Unknown panel 'losss'. Did you mean 'loss'\? Available: "
                                         r"final, loss, lr\."):  # fmt: skip
        pictures.render(document, "svg", panel="losss")
    with pytest.raises(UsageError, match="Available: final, loss, lr"):
        pictures.render(document, "svg", panel="differences")


@pytest.mark.parametrize("options", [{"panel": "loss"}, {"figure_size": "single"}])
def test_only_pictures_have_panels_and_sizes(comparison, options):
    """Panels and sizes are refused for formats that are no pictures."""
    with pytest.raises(UsageError, match=r"csv is none\. Fix: choose png, svg or pdf"):
        formats.render(comparison, "csv", **options)


def test_differences_are_drawn_with_their_intervals(run_of, saved):
    """Each row has its interval around its difference, and the best one a mark at zero."""
    finals = {"StepLR": 1.0, "CyclicLR": 1.1, "constant": 2.0}
    runs = [
        run_of(Schedule(name), seed, loss=[9.0, value + 0.1 * seed + 0.01 * seed * len(name)])
        for name, value in finals.items() for seed in range(3)
    ]  # fmt: skip
    comparison = compared(*runs)
    pictures.render(Document(comparison), "svg", panel="differences")
    (axes,) = saved[0].axes
    effects = [item.vs_best for item in comparison.schedules]
    rows = {
        row: [list(line.get_xdata()) for line in axes.lines[1:] if set(line.get_ydata()) == {row}]
        for row in range(3)
    }

    assert [effect is None for effect in effects] == [True, False, False]
    assert rows == {
        0: [[0.0]],
        1: [[*effects[1].ci95], [effects[1].difference]],
        2: [[*effects[2].ci95], [effects[2].difference]],
    }
    assert [text.get_text() for text in axes.texts] == ["best"]
    filled = [line.get_markerfacecolor() for line in axes.lines if line.get_marker() == "o"]
    assert [colour == "white" for colour in filled] == [
        effect.ci95[0] <= 0.0 <= effect.ci95[1] for effect in effects[1:]
    ]


def test_far_rows_are_arrows_with_a_number(run_of, saved):
    """A schedule that is far off does not flatten the others: an arrow has its number."""
    finals = {"StepLR": 1.0, "CyclicLR": 1.05, "cosine": 1.1, "constant": 20.0}
    runs = [
        run_of(Schedule(name), seed, loss=[9.0, value + seed / 99])
        for name, value in finals.items() for seed in range(3)
    ]  # fmt: skip
    document = Document(compared(*runs))
    said = texts(pictures.render(document, "svg"))
    final, difference = saved[0].axes[1:]

    assert final.get_xlim()[1] < 2.0
    assert difference.get_xlim()[1] < 2.0
    assert {"20.0", "19"} <= set(said)
    assert "Arrows: it goes on beyond the axis." in " ".join(" ".join(said).split())


def test_one_of_two_differences_is_far_off(run_of, saved):
    """Of two differences, one that is a hundred times the other does not flatten it."""
    finals = {"StepLR": 1.0, "CyclicLR": 1.5, "constant": 900.0}
    runs = [
        run_of(Schedule(name), seed, loss=[value + seed / 99])
        for name, value in finals.items() for seed in range(3)
    ]  # fmt: skip
    pictures.render(Document(compared(*runs)), "svg", panel="differences")

    assert saved[0].axes[0].get_xlim()[1] < 100.0


def test_the_axis_of_rates_begins_at_zero(run_of, saved):
    """A constant rate is a line above zero, not one in the middle of a magnified axis."""
    document = Document(compared(run_of(CONSTANT, 0, loss=[1.0, 0.5], lr=[0.1, 0.1])))
    pictures.render(document, "svg", panel="lr")

    assert saved[0].axes[0].get_ylim() == pytest.approx((-0.003, 0.103))


def test_a_wide_band_does_not_flatten_the_curves(run_of, saved):
    """The axis follows the means: the band of two runs reaches to its edge and no further."""
    runs = [run_of(CONSTANT, seed, loss=[3.0, 1.0 + seed, 0.5 + seed]) for seed in range(2)]
    document = Document(compared(*runs))
    pictures.render(document, "svg", panel="loss")
    (axes,) = saved[0].axes
    bundle = document.curves.panels[0].bundles[0]
    low, high = axes.get_ylim()

    assert bundle.low[2] < -4.0
    # the means reach from 1 to 3, half of that more on both sides, and a margin
    assert (low, high) == pytest.approx((0.0 - 0.12, 4.0 + 0.12))


def test_long_curves_are_averaged_over_windows(run_of, saved):
    """Curves of many steps are means of windows, rates are drawn as they are; a caption says so."""
    noise = np.random.default_rng(0).normal(size=(2, 1000))
    runs = [run_of(CONSTANT, k, loss=9.0 + noise[k], lr=np.linspace(1, 0, 1000)) for k in range(2)]
    said = " ".join(texts(pictures.render(Document(compared(*runs)), "svg")))
    loss, rate = saved[0].axes[:2]

    assert loss.lines[0].get_ydata() == pytest.approx(
        9.0 + noise.mean(axis=0).reshape(100, 10).mean(axis=1)
    )
    assert loss.lines[0].get_xdata()[:2].tolist() == [4.0, 14.0]
    assert rate.lines[0].get_ydata().size == 1000
    assert "in windows of 1/100 of the steps (not the rates)" in said


def test_a_diverged_run_is_marked_where_it_ends(run_of, saved):
    """A cross is at the last finite value of a run that diverged beside others."""
    runs = [run_of(CONSTANT, 0, loss=[3.0, 2.0, 1.0]), run_of(CONSTANT, 1, loss=[3.0, 4.0, NAN])]
    said = " ".join(texts(pictures.render(Document(compared(*runs)), "svg", panel="loss")))
    (axes,) = saved[0].axes
    (cross,) = [line for line in axes.lines if line.get_marker() == "x"]

    assert (list(cross.get_xdata()), list(cross.get_ydata())) == ([1.0], [4.0])
    assert "×: last value of a run that diverged" in said


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
    """A picture of 100 runs with 5,000 steps is smaller than 1 MB."""
    rng = np.random.default_rng(0)
    comparison = compared(*(
        run_of(Schedule("StepLR", {"k": k // 10}), k, loss=rng.random(5000)) for k in range(100)
    ))  # fmt: skip

    assert len(pictures.render(Document(comparison), "svg")) < 1_000_000


def test_epochs_only_where_there_are_some(run_of):
    """The epoch axis is titled; without epochs it is an error that says what to do."""
    known = compared(run_of(CONSTANT, 0, loss=[1.0, 0.5], config={"steps_per_epoch": 1}))

    assert "epoch" in texts(pictures.render(Document(known), "svg", axis="epoch"))
    with pytest.raises(UsageError, match="steps_per_epoch"):
        pictures.render(Document(compared(run_of(CONSTANT, 0, loss=[1.0]))), "svg", axis="epoch")


def test_no_global_figure_is_made(comparison):
    """Figures that the user has open in pyplot are not touched."""
    pictures.render(Document(comparison), "png", panel="lr")

    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []
