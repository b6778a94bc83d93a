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


def test_a_target_for_each_task(lrtrack, digits):
    """`--target TASK=VALUE` gives each task its own; a plain number is for all."""
    own = _compared(lrtrack, "digits", "--task", "seed", "--target", "0=0.3", "--target", "1=9e9")
    shared = _compared(lrtrack, "digits", "--task", "seed", "--target", "0.3")

    assert own["target"] == {"0": 0.3, "1": 9e9}
    assert shared["target"] == 0.3
    assert [len(item["across"]["steps_to_target"]["ratios"]) for item in own["schedules"]] == [2, 2]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (("7=0.3",), "Unknown task '7'. Available: 0, 1."),
        (("0=x",), "'0=x' is neither a number nor a task and its number"),
        (("x",), "'x' is neither a number"),
        (("0=1", "0=2"), "There are two targets for the task '0'."),
        (("1", "2"), "There are two targets for all tasks."),
        (("0=1", "2"), "Fix: give one number for all tasks, or one for each"),
    ],
)
def test_targets_that_are_none(lrtrack, digits, targets, message):
    """An unknown task, no number, and contradictory targets are wrong usage."""
    options = [part for text in targets for part in ("--target", text)]
    result = lrtrack("compare", "digits", *TRACKER, "--task", "seed", *options)

    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.split())


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
