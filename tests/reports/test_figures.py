"""The comparison as PNG and SVG."""

from __future__ import annotations

import struct
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from lrtrack.errors import UsageError
from lrtrack.reports import figures
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories

CONSTANT = Schedule("constant")
NAN = float("nan")


def compared(*histories):
    """A comparison by loss."""
    return compare_histories(list(histories), experiment="e", metric="loss")


def texts(picture: bytes) -> list[str]:
    """All text in an SVG."""
    return [(node.text or "").strip() for node in ElementTree.fromstring(picture).iter()]


def test_a_picture_says_what_the_table_says(comparison):
    """Headline, panels, and the schedules by their short names; the same bytes each time."""
    found = figures.render(comparison, "svg")
    said = texts(found)

    assert any(text.startswith("constant has the lowest final loss") for text in said)
    assert {"loss", "learning rate", "gradient norm", "step", "StepLR(step_size=30)"} <= set(said)
    assert found == figures.render(comparison, "svg")


def test_a_png_has_its_width(comparison):
    """11 inches at 144 dots; one panel more for each metric."""
    found = figures.render(comparison, "png")
    width, height = struct.unpack(">II", found[16:24])

    assert (found[:4], width) == (b"\x89PNG", 1584)
    assert 1000 < height < 2000


def test_names_are_no_mathematics_and_may_be_chinese(run_of):
    """Dollar signs, backslashes and scripts that no font here has are drawn without a warning."""
    names = ("$x_1$ \\frac", "学习率调度器", "_hidden", "L" * 200)
    comparison = compared(*(run_of(Schedule(name), 0, loss=[1.0, 0.5]) for name in names))
    said = texts(figures.render(comparison, "svg"))

    assert {"$x_1$ \\frac", "学习率调度器", "_hidden", "L" * 47 + "…"} <= set(said)
    assert figures.render(comparison, "png").startswith(b"\x89PNG")


def test_of_many_schedules_the_best_are_drawn(run_of):
    """A picture stays readable, and says what it leaves out."""
    runs = [run_of(Schedule("StepLR", {"k": k}), 0, loss=[1.0 + k]) for k in range(60)]
    said = texts(figures.render(compared(*runs), "svg"))

    assert [text for text in said if text.startswith("StepLR(") and text.endswith(")")] == [
        f"StepLR(k={k})" for k in range(figures.MOST)
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
    """A single step, nothing finite, all zero, nearly nothing, far too much."""
    comparison = compared(*(run_of(CONSTANT, seed, **metrics) for seed in range(3)))

    assert figures.render(comparison, "png", axis="time").startswith(b"\x89PNG")


def test_long_runs_stay_small(run_of):
    """100 runs of 5,000 steps are a picture of under 2 MB."""
    rng = np.random.default_rng(0)
    comparison = compared(*(
        run_of(Schedule("StepLR", {"k": k // 10}), k, loss=rng.random(5000)) for k in range(100)
    ))  # fmt: skip

    assert len(figures.render(comparison, "svg")) < 2_000_000


def test_epochs_only_where_there_are_some(run_of):
    """The axis is named; asked for without epochs, it is an error that says what to do."""
    known = compared(run_of(CONSTANT, 0, loss=[1.0, 0.5], config={"steps_per_epoch": 1}))

    assert "epoch" in texts(figures.render(known, "svg", axis="epoch"))
    with pytest.raises(UsageError, match="steps_per_epoch"):
        figures.render(compared(run_of(CONSTANT, 0, loss=[1.0])), "svg", axis="epoch")


def test_no_global_figure_is_made(comparison):
    """Whoever has figures open in a notebook keeps exactly those."""
    figures.render(comparison, "png")

    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []
