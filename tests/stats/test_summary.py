"""Summary statistics of one run."""

import math

import numpy as np
import pytest

from lrtrack.records import State
from lrtrack.stats import mode_of, summarise
from lrtrack.stats.summary import loss_metrics


@pytest.mark.parametrize(
    ("count", "expected"), [(1, 0.0), (10, 9.0), (20, 19.0), (21, 19.5), (100, 97.0)]
)
def test_final_is_the_mean_of_the_last_twentieth(make_history, count, expected):
    """The final value averages the last 5 % of the metric's records, rounded up, at least one."""
    history = make_history({"loss": [float(value) for value in range(count)]})

    assert expected == summarise(history, "loss", "min", None).final


def test_best_names_its_first_step(make_history):
    """The best value is the smallest or the largest, by mode, with the first step that has it."""
    history = make_history({"loss": [3.0, 1.0, 5.0, 1.0, 5.0]})
    low, high = (summarise(history, "loss", mode, None) for mode in ("min", "max"))

    assert (low.best, low.best_step) == (1.0, 1)
    assert (high.best, high.best_step) == (5.0, 2)


def test_final_counts_records_of_the_metric_not_steps(make_history):
    """A metric that is logged now and then is averaged over its own records."""
    history = make_history({"loss": [1.0] * 100, "val": [None] * 98 + [7.0, None]})

    assert summarise(history, "val", "min", None).final == 7.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_divergence(make_history, bad):
    """One loss that is not finite is a divergence for every metric; the best value remains
    known.
    """
    history = make_history({"loss": [2.0, bad, 1.0], "acc": [0.1, 0.2, 0.3]})
    by_loss, by_acc = (summarise(history, name, "min", None) for name in ("loss", "acc"))

    assert by_loss.diverged
    assert by_acc.diverged
    assert by_loss.best == 1.0


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"loss": [1.0, math.nan, 1.0, math.inf]}, 1),
        ({"loss": [1.0, 1.0, 1.0, math.nan], "acc": [None, 0.1, math.inf, 0.2]}, 2),
        ({"loss": [1.0] * 3, "acc": [0.1] * 3}, None),
    ],
)
def test_the_step_of_divergence(make_history, metrics, expected):
    """The step of divergence is the first at which the loss or the metric is not finite."""
    assert expected == summarise(make_history(metrics), "acc", "max", None).diverged_step


def test_the_log_area_is_the_mean_height_on_a_log_axis(make_history):
    """The log area is over steps, so that a sparse record counts for the steps around it."""
    e = math.e
    summary = summarise(make_history({"loss": [e**4, e**2, None, None, e**2]}), "loss", "min", None)

    assert pytest.approx((3.0 * 1 + 2.0 * 3) / 4) == summary.log_area


@pytest.mark.parametrize("losses", [[1.0, 0.0], [1.0, -1.0], [1.0, math.nan], [math.inf], []])
def test_a_log_area_needs_values_above_zero(make_history, losses):
    """A value of 0 or less has no log area; a single record has its own logarithm."""
    one = summarise(make_history({"loss": [math.e]}), "loss", "min", None)

    assert summarise(make_history({"loss": losses}), "loss", "min", None).log_area is None
    assert one.log_area == 1.0


def test_a_step_without_a_value_is_no_divergence(make_history):
    """NaN for a missing value is not a recorded NaN."""
    history = make_history({"loss": [1.0, None, 1.0]})

    assert not summarise(history, "loss", "min", None).diverged


def test_a_missing_metric_gives_no_values(make_history):
    """A run without the metric is summarised, without values for it."""
    summary = summarise(make_history({"lr": [0.1, 0.2]}), "loss", "min", 0.5)

    assert not summary.recorded
    assert (summary.final, summary.best, summary.target_step) == (None, None, None)
    assert (summary.steps, summary.lr_peak) == (2, 0.2)


def test_an_empty_run_is_summarised(make_history):
    """A run without a step has no statistics and is unfinished."""
    summary = summarise(make_history({}, state=State.RUNNING), "loss", "min", None)

    assert (summary.steps, summary.final, summary.steps_per_second) == (0, None, None)
    assert summary.unfinished


def test_steps_per_second_counts_pauses(make_history):
    """The rate is steps over the whole span, so evaluation between steps lowers it."""
    history = make_history({"lr": [0.1] * 5}, times=[10.0, 11.0, 12.0, 19.0, 20.0])

    assert summarise(history, "loss", "min", None).steps_per_second == 0.4


def test_a_clock_that_was_set_back_gives_no_rate(make_history):
    """A clock that was set back gives no rate instead of a negative or infinite one."""
    history = make_history({"lr": [0.1] * 3}, times=[10.0, 9.0, 10.0])

    assert summarise(history, "loss", "min", None).steps_per_second is None


def test_metrics_between_optimizer_steps_do_not_count_as_steps(make_history):
    """Only steps with a learning rate are counted."""
    history = make_history({"lr": [0.1, 0.1, None], "val": [None, None, 1.0]})

    assert summarise(history, "val", "min", None).steps == 2


def test_the_prefix_is_found(make_history):
    """Metrics of a run with a prefix are requested without it."""
    history = make_history({"gen/loss": [2.0], "gen/lr": [0.5]}, prefix="gen/")
    summary = summarise(history, "loss", "min", None)

    assert (summary.final, summary.lr_peak) == (2.0, 0.5)


def test_the_target_is_met_by_the_trailing_mean(make_history):
    """With 200 records the window has 2: a single dip does not count, a full window does."""
    values = [9.0] * 50 + [0.0] + [9.0] * 49 + [1.0] * 100
    summary = summarise(make_history({"loss": values}), "loss", "min", 1.0)

    assert (summary.target_step, summary.target_second) == (101, 101.0)


def test_the_target_may_be_met_from_below(make_history):
    """With mode max, large values reach the target; a short run's window is one record."""
    history = make_history({"acc": [0.1, 0.5, 0.9]}, times=[5.0, 5.5, 7.0])
    summary = summarise(history, "acc", "max", 0.9)

    assert (summary.target_step, summary.target_second, summary.last_second) == (2, 2.0, 2.0)


def test_a_window_with_nan_does_not_reach(make_history):
    """Values that are not finite never count as reaching the target."""
    values = [math.nan, -math.inf, *[5.0] * 98]

    assert summarise(make_history({"loss": values}), "loss", "min", 1.0).target_step is None


@pytest.mark.parametrize(
    "metric",
    ["accuracy", "val_accuracy", "val_acc", "valAcc", "val/f1", "roc_auc", "top1", "R2", "dice"],
)
def test_accuracies_and_scores_are_better_large(metric):
    """Metrics whose names contain a word for something good are maximised."""
    assert mode_of(metric) == "max"


@pytest.mark.parametrize(
    "metric", ["loss", "val_loss", "score_loss", "brier_score", "rmse", "lr", "accumulated", "wer"]
)
def test_all_else_is_better_small(metric):
    """Losses, errors and unknown names are minimised, even beside a word for something good."""
    assert mode_of(metric) == "min"


@pytest.mark.parametrize(
    ("losses", "final", "best"),
    [
        ([3.0, 1.0, 2.0], 2.0, 1.0),
        ([1.0, math.inf], math.inf, 1.0),
        ([1.0, -math.inf], -math.inf, 1.0),
        ([1.0, math.nan], math.nan, 1.0),
        ([math.nan, math.inf], math.inf, math.nan),
        ([*[1.0] * 38, math.inf, -math.inf], math.nan, 1.0),
        ([*[1.0] * 39, math.inf], math.inf, 1.0),
    ],
)
def test_loss_metrics_take_nan_and_infinity_as_values(losses, final, best):
    """`loss_final` is infinite or NaN when the last losses are; `loss_best` skips them."""
    metrics = loss_metrics(np.array(losses), "a/")

    np.testing.assert_equal(metrics, {"a/loss_final": final, "a/loss_best": best})


def test_loss_metrics_of_no_losses_are_empty():
    """A run without a loss has neither `loss_final` nor `loss_best`."""
    assert loss_metrics(np.array([])) == {}
