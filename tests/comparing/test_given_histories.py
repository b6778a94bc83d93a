"""Comparing numbers at hand, without a tracker."""

import math

import numpy as np
import pytest

import lrtrack
from lrtrack.errors import NothingFound, UsageError
from lrtrack.records import History
from lrtrack.schedules import Schedule


def _made(schedule, loss, **options):
    return History.from_series(schedule, {"loss": loss}, **options)


def test_a_comparison_of_numbers():
    """Histories of given numbers are compared as those of a tracker."""
    histories = [
        _made(spec, [2.0, final + seed / 100 + (seed == factor) / 50], seed=seed)
        for spec, final, factor in (("cosine(steps=2)", 1.0, 0), ("constant", 1.5, 1))
        for seed in range(3)
    ]
    found = lrtrack.compare(histories=histories, filters="seed < 2")

    assert [item.label for item in found.schedules] == ["cosine(steps=2)", "constant"]
    assert [item.runs for item in found.schedules] == [2, 2]
    assert found.schedules[0].final.mean == pytest.approx(1.015)


def test_a_metric_as_the_axis(tmp_path):
    """`x` is the axis of every later report, until another one is asked for."""
    runs = [
        History.from_series("constant", {"loss": [1.0, 0.4], "tokens": total, "samples": [1, 2]})
        for total in ([10, 30], [10, 50])
    ]
    found = lrtrack.compare(histories=runs, x="tokens", target=0.5)
    page = found.save(tmp_path / "r.html").read_text(encoding="utf-8")

    assert found.schedules[0].x_to_target.median == 40.0
    assert found.schedules_frame()["x_to_target_median"].tolist() == [40.0]
    assert '"metric":"tokens"' in page
    assert '"metric":"samples"' in found.to_html("samples")
    assert '"axis":"step"' in found.to_html("step")
    assert "tokens to 0.5" in str(found)


def test_what_a_history_of_numbers_holds():
    """Steps count from 0, the time is unknown, and missing values differ from NaN."""
    found = _made("StepLR", [1.0, None, math.nan], seed=3, config={"width": 4})

    assert found.steps.tolist() == [0, 1, 2]
    assert found.times.tolist() == [0.0, 0.0, 0.0]
    assert found.present["loss"].tolist() == [True, False, True]
    assert found.fields()["config.width"] == 4
    assert (found.run.name, found.run.seed, found.run.schedule) == (
        "StepLR-seed3", 3, Schedule("StepLR"),
    )  # fmt: skip


def test_steps_and_times_are_kept():
    """Given steps and times are those of the history; masked values are missing."""
    values = np.ma.MaskedArray([1.0, 2.0], [False, True])
    found = _made("StepLR", values, step=[10, 20], time=[5.0, 6.5], name="mine")

    assert (found.steps.tolist(), found.times.tolist()) == ([10, 20], [5.0, 6.5])
    assert found.series("loss")[1].tolist() == [1.0]
    assert found.run.name == "mine"


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("constant", Schedule("constant")),
        ("cosine(steps=9)", Schedule("cosine", {"steps": 9})),
        ("OneCycleLR(max_lr=0.1)", Schedule("OneCycleLR", {"max_lr": 0.1})),
        ("warmup(steps=3) -> cosine", Schedule("warmup -> cosine", {"schedulers": [
            {"name": "warmup", "steps": 3}, {"name": "cosine"}]})),
        ("my own, second try", Schedule("my own, second try")),
    ],
)  # fmt: skip
def test_schedules_of_texts(text, schedule):
    """A text is read as a spec where it is one, else it is the schedule's name."""
    assert _made(text, [1.0]).run.schedule == schedule


@pytest.mark.parametrize(
    ("metrics", "options", "message"),
    [
        ({"loss": [1.0], "acc": [1.0, 2.0]}, {}, "one length, got loss 1, acc 2"),
        ({"loss": [1.0]}, {"step": [1, 2]}, "one length"),
        ({"loss": [1.0, 2.0]}, {"step": [1, 1]}, "ascending"),
        ({"loss": [1.0, 2.0]}, {"step": [0.5, 1]}, "whole numbers"),
        ({"loss": [[1.0]]}, {}, "one dimension"),
        ({"loss": ["a"]}, {}, "sequence of numbers"),
        ({"loss": [1.0]}, {"time": [math.nan]}, "finite"),
    ],
)
def test_numbers_that_are_no_history(metrics, options, message):
    """Series of different lengths, of other things than numbers, or out of order are refused."""
    with pytest.raises(UsageError, match=message):
        History.from_series("StepLR", metrics, **options)


def test_histories_or_a_tracker():
    """A tracker beside given histories is an error, and so are no histories."""
    with pytest.raises(UsageError, match="histories and a tracker"):
        lrtrack.compare(histories=[_made("StepLR", [1.0])], tracker="local")
    with pytest.raises(NothingFound, match="no runs to compare"):
        lrtrack.compare(histories=[])
