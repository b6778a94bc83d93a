"""Options of `lrtrack compare` that say what is compared with what."""

import json

import pytest

TRACKER = ("--tracker", "local")


def _compared(lrtrack, *options):
    result = lrtrack("compare", *options, *TRACKER, "--format", "json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_positional_experiment(lrtrack, digits):
    """An argument is the experiment, as `--experiment` is."""
    assert _compared(lrtrack, "digits") == _compared(lrtrack, "--experiment", "digits")


def test_how_it_is_compared(lrtrack, digits):
    """Margin, tuning and the sequential test reach the comparison."""
    found = _compared(
        lrtrack, "digits", "--margin", "100", "--sequential", "--tune", "lr_peak",
        "--include-unfinished",
    )  # fmt: skip

    assert found["margin"] == 100.0
    assert found["test"]["name"] == "sequential"
    assert found["schedules"][0]["tuning"]["field"] == "lr_peak"


def test_tasks_by_a_field(lrtrack, digits):
    """`--task` compares by scores relative to the best schedule of each task."""
    found = _compared(lrtrack, "digits", "--task", "seed")

    assert found["task"] == "seed"
    assert [item["task"] for item in found["schedules"][0]["tasks"]] == ["0", "1"]


@pytest.mark.parametrize("margin", ["0", "-1", "nan"])
def test_margins_that_are_none(lrtrack, digits, margin):
    """A margin that is not above 0 is wrong usage."""
    result = lrtrack("compare", "digits", *TRACKER, "--margin", margin)

    assert result.exit_code == 2
    assert "margin must be a finite number above 0" in result.stderr


def test_a_report_of_several_experiments_has_no_place(lrtrack, digits):
    """`--publish` takes one experiment."""
    result = lrtrack("compare", "digits", "other", "--publish")

    assert result.exit_code == 2
    assert "--publish takes one experiment" in result.stderr
