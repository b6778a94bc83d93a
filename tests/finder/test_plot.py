"""Tests of the plot and the text form of a range test's result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from lrtrack import LRFinderResult
from lrtrack.finder.suggest import suggest


def parabola() -> LRFinderResult:
    """A result whose loss falls, has its minimum at a rate of 0.01, and rises again."""
    rates = np.geomspace(1e-4, 1.0, 41)
    losses = 1.0 + np.log10(rates / 0.01) ** 2
    return LRFinderResult(rates, losses, losses, suggest(rates, losses), "diverged")


def test_the_plot(tmp_path) -> None:
    """The plot has curve and suggestions, on the given axes or on those of a new figure."""
    from matplotlib import pyplot

    result = parabola()
    _, given_axes = pyplot.subplots()
    axes = result.plot()
    same = result.plot(given_axes)
    axes.figure.savefig(tmp_path / "found.png")
    pyplot.close("all")

    assert same is given_axes
    assert axes is not given_axes
    assert axes.get_xscale() == "log"
    assert not [each for each in axes.get_xticklabels() if "$" in each.get_text()]
    assert any("10" in each.get_text() for each in axes.get_xticklabels())
    lines = {line.get_label().partition(":")[0]: line for line in axes.get_lines()}
    assert lines["loss"].get_xdata().tolist() == result.lrs.tolist()
    assert lines["smoothed loss"].get_ydata().tolist() == result.smoothed.tolist()
    drawn = {
        "minimum": "a tenth of the smallest loss's rate", "steepest": "steepest descent",
        "valley": "middle of the longest descent (valley)",
        "slide": "before the curve bends (slide)",
    }  # fmt: skip
    assert {name: lines[label].get_xdata()[0] for name, label in drawn.items()} == (
        result.suggestions
    )
    assert (tmp_path / "found.png").stat().st_size > 10_000


@pytest.mark.parametrize("kind", [str, Path])
def test_the_plot_goes_to_a_file(tmp_path, kind) -> None:
    """Given a path, the plot is saved there, in the format that its ending names."""
    axes = parabola().plot(kind(tmp_path / "found.svg"))

    drawn = (tmp_path / "found.svg").read_text()
    assert drawn.startswith("<?xml")
    assert axes.get_xscale() == "log"


def test_the_text_form_of_a_result_is_short() -> None:
    """A result prints as what was found; the curve of a thousand rates does not fill the screen."""
    curve = np.ones(1000)
    result = LRFinderResult(curve, curve, curve, {"minimum": 0.0123, "valley": 0.1}, "end")

    expected = "LRFinderResult(suggestion=0.0123, stopped='end', 1000 learning rates)"
    assert expected == repr(result)


def test_the_plot_recommends_one_rate() -> None:
    """One line is strong and its reason is written; a dot is at the smallest smoothed loss."""
    result = parabola()
    axes = result.plot(Figure().subplots())
    best = int(np.argmin(result.smoothed))
    lines = {line.get_label().partition(":")[0]: line for line in axes.get_lines()}
    dot = lines["smallest smoothed loss"]
    strong = [name for name, line in lines.items() if line.get_linewidth() == 2.0]

    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (result.lrs[best], result.smoothed[best])
    assert strong == ["a tenth of the smallest loss's rate"]
    assert result.suggestion == pytest.approx(result.lrs[best] / 10)
    assert axes.get_title(loc="left").startswith("Recommended: ")


def test_a_plot_without_a_suggestion_says_why() -> None:
    """Where the loss never fell, the plot has its curve and says that there is no suggestion."""
    rates, losses = np.geomspace(1e-4, 1.0, 5), np.linspace(1.0, 2.0, 5)
    result = LRFinderResult(rates, losses, losses, {}, "end")
    axes = result.plot(Figure().subplots())

    assert axes.get_title(loc="left") == "No suggestion, because the loss never fell."
    assert len(axes.get_lines()) == 2
