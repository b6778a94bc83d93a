"""The numbers of curves: means and intervals, and x axes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from lrtrack.errors import NothingFound, UsageError
from lrtrack.reports.curves import curves_of, curves_over
from lrtrack.reports.document import Document
from lrtrack.reports.intervals import mean_and_half_width, on_logarithms
from lrtrack.reports.smoothing import averaged
from lrtrack.schedules import Schedule
from lrtrack.stats import ComparisonResult, compare_histories

CONSTANT, STEP = Schedule("constant"), Schedule("StepLR", {"step_size": 30})
NAN, INF = float("nan"), float("inf")


def compared(*histories, metric="loss", **options) -> ComparisonResult:
    """A comparison of runs."""
    return compare_histories(list(histories), experiment="digits", metric=metric, **options)


def bundle(comparison, metric="loss", schedule=0):
    """One schedule's curves in the panel of `metric`."""
    panel = next(item for item in curves_of(comparison).panels if item.metric == metric)
    return panel.bundles[schedule]


def test_mean_and_interval_over_seeds(run_of):
    """At each step there is the runs' mean, with the 95 % interval of Student's t around it."""
    found = bundle(compared(
        run_of(CONSTANT, 0, loss=[1.0, 0.5]), run_of(CONSTANT, 1, loss=[2.0, 0.25]),
        run_of(CONSTANT, 2, loss=[6.0, 0.0]),
    ))  # fmt: skip

    assert (found.steps.tolist(), found.mean.tolist()) == ([0, 1], [3.0, 0.25])
    # t(0.975, 2) = 4.30265; standard errors are √7 / √3 and 0.25 / √3
    half = [4.302652729749464 * 7**0.5 / 3**0.5, 4.302652729749464 * 0.25 / 3**0.5]
    assert found.high - found.mean == pytest.approx(half)
    assert found.mean - found.low == pytest.approx(half)
    assert [line.values.tolist() for line in found.lines] == [[1, 0.5], [2, 0.25], [6, 0]]


def test_the_size_of_steps_has_a_panel(run_of):
    """Ratios of updates to weights that were measured now and then are drawn below the others."""
    measured = run_of(CONSTANT, 0, loss=[1.0, 0.5, 0.25], update_ratio=[0.1, NAN, 0.2])
    panels = curves_of(compared(measured)).panels

    assert [(panel.metric, panel.title) for panel in panels][-1:] == [
        ("update_ratio", "update / weights")
    ]
    assert "update_ratio" not in [p.metric for p in curves_of(compared(
        run_of(CONSTANT, 0, loss=[1.0, 0.5])
    )).panels]  # fmt: skip


def test_runs_of_different_lengths(run_of):
    """The mean ends once half of the runs have ended; each run's line continues to its own end."""
    found = bundle(compared(*(
        run_of(CONSTANT, seed, loss=[float(seed)] * size) for seed, size in enumerate((1, 3, 4))
    )))  # fmt: skip

    assert np.array_equal(found.mean, [1.0, 1.5, 1.5, NAN], equal_nan=True)
    assert [line.steps.size for line in found.lines] == [1, 3, 4]
    assert not found.flat


def test_an_interval_needs_two_runs(run_of):
    """Where one run alone has a value there is a mean without an interval."""
    rate = bundle(compared(
        run_of(CONSTANT, 0, loss=[1.0, 0.5, 0.4], lr=[0.1, 0.2, 0.3]),
        run_of(CONSTANT, 1, loss=[1.0, 0.5], lr=[0.1, 0.4]),
    ), "lr")  # fmt: skip

    assert rate.mean == pytest.approx([0.1, 0.3, 0.3])
    assert rate.low == pytest.approx([0.1, 0.3 - 12.706204736 * 0.1, NAN], nan_ok=True)
    assert rate.high == pytest.approx([0.1, 0.3 + 12.706204736 * 0.1, NAN], nan_ok=True)
    assert not rate.flat


@given(st.lists(st.lists(st.integers(-1000, 1000), min_size=2, max_size=6), min_size=2, max_size=5))
@settings(max_examples=30, deadline=None)
def test_intervals_are_those_of_scipy(rows):
    """Mean and half width equal scipy's t interval, whatever values are missing."""
    table = np.full((len(rows), 6), NAN)
    for at, row in enumerate(rows):
        table[at, : len(row)] = row
    mean, half = mean_and_half_width(table)
    for column in range(6):
        values = table[np.isfinite(table[:, column]), column]
        if values.size < 2:
            assert np.isnan(half[column])
        elif np.ptp(values) == 0.0:
            assert (mean[column], half[column]) == (values[0], 0.0)
        else:
            low, high = scipy.stats.t.interval(
                0.95, values.size - 1, values.mean(), scipy.stats.sem(values)
            )
            assert (mean[column] - half[column], mean[column] + half[column]) == pytest.approx(
                (low, high), rel=1e-6, abs=1e-6
            )


def test_intervals_on_logarithms_are_positive():
    """Around a positive mean, the interval of its logarithm has a factor in both directions."""
    low, high = on_logarithms(np.array([2.0, 2.0, -1.0, 2.0]), np.array([6.0, 2.0, 1.0, NAN]))

    assert low == pytest.approx([2.0 / np.e**2, 2.0, NAN, NAN], nan_ok=True)
    assert high == pytest.approx([2.0 * np.e**2, 2.0, NAN, NAN], nan_ok=True)


def test_windows_are_averaged_before_the_interval(run_of):
    """Noise that is averaged away within each run does not widen the interval between runs."""
    noisy = bundle(compared(
        run_of(CONSTANT, 0, loss=[1.0, 3.0, 5.0, 7.0]),
        run_of(CONSTANT, 1, loss=[3.0, 1.0, 9.0, 5.0]),
    ))  # fmt: skip
    windows = averaged(noisy, 2)

    assert windows.steps.tolist() == [0, 2]
    assert windows.mean.tolist() == [2.0, 6.5]
    assert (windows.high - windows.low).tolist() == pytest.approx([0.0, 2 * 12.706204736 * 0.5])
    assert windows.lines == noisy.lines


def test_one_high_rate_makes_the_axis_of_rates_logarithmic(run_of):
    """The axis of rates is logarithmic if one peak is far above most others, else linear."""

    def panel(peak: float):
        runs = [run_of(Schedule(name), 0, loss=[1.0, 0.5], lr=[top, 0.0])
                for name, top in (("a", 0.1), ("b", 0.1), ("c", peak))]  # fmt: skip
        return curves_of(compared(*runs)).panels[1]

    assert (panel(30.0).wide, panel(2.0).wide) == (True, False)


def test_between_its_records_a_run_counts_on_a_straight_line(run_of):
    """Runs that recorded different steps have a mean, by linear interpolation."""
    found = bundle(compared(
        run_of(CONSTANT, 0, loss=[0.0, 4.0], steps=[0, 4]),
        run_of(CONSTANT, 1, loss=[1.0, 1.0, 1.0], steps=[0, 1, 4]),
    ))  # fmt: skip

    assert found.steps.tolist() == [0, 1, 4]
    assert found.mean.tolist() == [0.5, 1.0, 2.5]


def test_a_diverged_run_is_a_line_and_not_in_the_mean(run_of):
    """A diverged run has a line but is not in the mean, except in that of the learning rate."""
    comparison = compared(
        run_of(CONSTANT, 0, loss=[1.0, 0.5, 0.2], lr=[0.1] * 3),
        run_of(CONSTANT, 1, loss=[1.0, 1e9, INF], lr=[0.3] * 3),
    )
    loss, rate = bundle(comparison), bundle(comparison, "lr")

    assert loss.mean.tolist() == [1.0, 0.5, 0.2]
    assert np.array_equal(loss.lines[1].values, [1.0, 1e9, NAN], equal_nan=True)
    assert (loss.counted, rate.counted) == ((0,), (0, 1))
    assert rate.mean == pytest.approx([0.2] * 3)


def test_where_all_diverged_there_is_no_mean(run_of):
    """If all runs diverged, there is no mean of the loss, but one of the learning rate."""
    comparison = compared(run_of(CONSTANT, 0, loss=[1.0, NAN], lr=[0.1, 0.1]))

    assert bundle(comparison).mean.size == 0
    assert bundle(comparison, "lr").mean.tolist() == [0.1, 0.1]


def test_equal_lines_are_one(run_of):
    """A learning rate that all seeds share is flat, also if one run is shorter."""
    comparison = compared(
        run_of(CONSTANT, 0, loss=[1.0, 0.5], lr=[0.1, 0.05]),
        run_of(CONSTANT, 1, loss=[1.0, 0.4, 0.3], lr=[0.1, 0.05, 0.02]),
    )

    assert bundle(comparison, "lr").flat
    assert bundle(comparison, "lr").mean.tolist() == [0.1, 0.05, 0.02]
    assert not bundle(comparison).flat


def test_panels(run_of):
    """The compared metric comes first, then loss, learning rate and gradient norm if recorded."""
    comparison = compared(
        run_of(CONSTANT, 0, acc=[0.5], loss=[1.0], lr=[0.1]),
        run_of(STEP, 0, acc=[0.4], lr=[0.1], grad_norm=[2.0]),
        metric="acc",
    )
    panels = curves_of(comparison).panels
    there = {item.metric: [part is not None for part in item.bundles] for item in panels}

    assert there == {
        "acc": [True, True], "loss": [True, False], "lr": [True, True], "grad_norm": [False, True]
    }  # fmt: skip
    assert list(there) == ["acc", "loss", "lr", "grad_norm"]


def test_seconds_since_the_first_step(run_of):
    """Each step is at its mean time; the clock starts with the first optimizer step."""
    late = run_of(CONSTANT, 0, loss=[None, 1.0, 0.5], lr=[None, 0.1, 0.1], pace=2.0)
    curves = curves_of(compared(late, run_of(CONSTANT, 1, loss=[1.0, 0.5, 0.2], pace=4.0)))

    assert curves.places("time", (0,), np.array([1, 2])).tolist() == [0.0, 2.0]
    assert curves.places("time", (0, 1), np.array([1, 2])).tolist() == [2.0, 5.0]


def test_a_clock_that_was_set_back_draws_no_loop(run_of):
    """Seconds never decrease."""
    history = run_of(CONSTANT, 0, loss=[1.0] * 4, lr=[0.1] * 4)
    history.times[:] = [10.0, 12.0, 11.0, 14.0]

    found = curves_of(compared(history)).places("time", (0,), np.arange(4))
    assert found.tolist() == [0.0, 2.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ({"config": {"steps_per_epoch": 2}}, [0.0, 0.5, 1.0, 1.5]),
        ({"epoch": [0.0, 0.0, 1.0, 1.0]}, [0.0, 0.5, 1.0, 1.5]),
        ({"epoch": [0.25, 0.5, 0.75, 1.0]}, [0.25, 0.5, 0.75, 1.0]),
        ({"epoch": [None, 1.0, None, 2.0]}, [0.5, 1.0, 1.5, 2.0]),
    ],
)
def test_epochs(run_of, fields, places):
    """Epochs come from a recorded `epoch`, by step or by epoch, or from `config`."""
    curves = curves_of(compared(run_of(CONSTANT, 0, loss=[1.0] * 4, **fields)))

    assert curves.places("epoch", (0,), np.arange(4)).tolist() == places
    assert curves.absent == {}


@pytest.mark.parametrize("size", [True, 0, -1, "two", None])
def test_without_epochs_the_axis_is_refused(run_of, size):
    """A missing epoch axis is an error that says how to get one; steps and seconds always exist."""
    comparison = compared(
        run_of(CONSTANT, 0, loss=[1.0] * 4, config={"steps_per_epoch": size}),
        run_of(CONSTANT, 1, loss=[1.0] * 4, config={"steps_per_epoch": 2}),
    )
    curves = curves_of(comparison)

    assert list(curves.rulers) == ["step", "time"]
    with pytest.raises(UsageError, match=r"1 of 2 runs do not say .*run\.log\(epoch="):
        Document(comparison).curves_on("epoch")


def test_over_a_metric_runs_are_averaged_where_it_is_equal(run_of):
    """A mean is over runs at equal tokens; it ends where half of the runs have no more of them."""
    curves = curves_over(compared(
        run_of(CONSTANT, 0, loss=[8.0, 4.0, 0.0], tokens=[None, 20.0, 30.0]),
        run_of(CONSTANT, 1, loss=[6.0, 2.0, 1.0], tokens=[20.0, 40.0, None], lr=[0.1] * 3),
        run_of(STEP, 0, loss=[9.0, 9.0, 9.0]),
    ), "tokens")  # fmt: skip
    loss, _rate = curves.panels
    found = loss.bundles[0]

    assert [panel.metric for panel in curves.panels] == ["loss", "lr"]
    assert found.steps.tolist() == [10.0, 20.0, 30.0, 40.0]
    assert np.array_equal(found.mean, [NAN, 5.0, 2.0, NAN], equal_nan=True)
    assert found.high[1:3] - found.mean[1:3] == pytest.approx([12.706204736, 2 * 12.706204736])
    assert np.isnan(found.low).tolist() == [True, False, False, True]


def test_over_a_metric_there_are_not_more_positions_than_can_be_seen(run_of, monkeypatch):
    """Of the positions of many runs, only some are used, with both ends."""
    monkeypatch.setattr("lrtrack.reports.curves._POSITIONS", 4)
    runs = [
        run_of(CONSTANT, seed, loss=[1.0, 0.5, 0.25], tokens=[1.0, 2.0 + seed / 8, 9.0])
        for seed in range(8)
    ]
    (panel,) = curves_over(compared(*runs), "tokens").panels

    assert panel.bundles[0].steps.tolist() == [1.0, 2.25, 2.625, 9.0]


def test_no_curve_over_a_metric_that_no_run_has(run_of):
    """Curves over a metric that is in no run are an error."""
    with pytest.raises(NothingFound, match="positions on the x axis 'tokens'"):
        curves_over(compared(run_of(CONSTANT, 0, loss=[1.0])), "tokens")


def test_a_ruler_of_many_steps_keeps_its_ends(run_of):
    """A thinned ruler has at most 128 knots and the same positions at an even pace."""
    history = run_of(CONSTANT, 0, loss=[1.0] * 1000)
    ruler = curves_of(compared(history)).rulers["time"][0]
    thin = ruler.thinned()

    assert thin.steps.size == 128
    assert np.allclose(thin.at(history.steps), ruler.at(history.steps))
