"""The methods of a comparison that print, save and render it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import lrtrack
from lrtrack import stats
from lrtrack.comparing import Comparison
from lrtrack.errors import LRTrackError, UsageError
from lrtrack.reports import markdown, terminal
from lrtrack.reports.report import report_of
from lrtrack.trackers.memory import MemoryTracker


def test_it_extends_the_comparison_of_the_statistics(small):
    """A comparison has all numbers of the statistics, and the same JSON."""
    plain = stats.compare_histories(small.histories, experiment="x", metric="loss")

    assert lrtrack.Comparison is Comparison
    assert isinstance(small, stats.ComparisonResult)
    assert small.to_dict() == plain.to_dict()
    assert small.runs == plain.runs


def test_compare_returns_it(small):
    """`lrtrack.compare()` returns this class."""
    tracker = MemoryTracker()
    run = small.histories[0].run
    sink = tracker.sink(run, tracker.target("x"), None)
    sink.open()
    sink.write([lrtrack.records.StepRecord(0, 1.0, {"loss": 0.5, "lr": 0.1})], doubt=False)
    comparison = lrtrack.compare("x", tracker=tracker)

    assert type(comparison) is Comparison
    assert comparison.histories_frame("loss")["loss"].tolist() == [0.5]


def test_it_prints_as_the_table(small):
    """`print()` shows the table of the command, and `repr` is one line."""
    assert str(small) == terminal.text(report_of(small)).rstrip("\n")
    assert repr(small) == "<Comparison of 'x' by 'loss': 2 schedules, 3 runs>"
    assert small.headline == report_of(small).headline


@pytest.mark.parametrize(
    ("name", "start"),
    [("r.md", "### x"), ("r.CSV", "rank,"), ("r.json", "{"), ("r.txt", "x · loss"),
     ("r.html", "<!doctype html>"), ("r.svg", "<?xml"), ("r.png", b"\x89PNG")],
)  # fmt: skip
def test_saving_by_suffix(small, clean_place, name, start):
    """The suffix decides the format, in upper or lower case."""
    path = small.save(name)

    assert path.read_bytes().startswith(start if isinstance(start, bytes) else start.encode())


def test_saving_in_a_format(small, clean_place):
    """An explicit format takes precedence over the suffix."""
    small.save(clean_place / "r.out", "json")

    assert json.loads((clean_place / "r.out").read_text()) == small.to_dict()


def test_formats_as_text(small):
    """The `to_…` methods return what the command prints."""
    assert small.to_markdown() == markdown.render(report_of(small))
    assert small.to_csv().startswith("rank,schedule,id,label")
    assert small.to_html().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("path", "form", "error", "message"),
    [
        ("r.xlsx", None, UsageError, "Known: .txt, .md"),
        ("r", None, UsageError, "Cannot tell the format of r"),
        ("r.md", "marckdown", UsageError, "Did you mean 'markdown'"),
        ("missing/r.md", None, LRTrackError, "Cannot write missing/r.md: No such file"),
    ],
)
def test_errors_of_saving(small, clean_place, path, form, error, message):
    """An unknown format or a missing directory is an error, and nothing is written."""
    with pytest.raises(error, match=message):
        small.save(path, form)

    assert list(clean_place.iterdir()) == []


def test_heavy_packages_are_imported_on_use():
    """Importing the class of comparisons loads neither pandas, torch, MLflow nor W&B."""
    code = (
        "import sys, lrtrack; lrtrack.Comparison; "
        "print([m for m in ('torch', 'mlflow', 'wandb', 'pandas', 'matplotlib', 'plotly') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
