"""The numbers of curves: means and intervals, x axes, downsampling and colours."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from lrtrack.errors import NothingFound, UsageError
from lrtrack.reports.curves import curves_of, curves_over
from lrtrack.reports.document import Document
from lrtrack.reports.downsampling import extremes, highest, lowest, means, stretches
from lrtrack.reports.intervals import mean_and_half_width, on_logarithms
from lrtrack.reports.palette import APART, COLOURS, DASHES, Look, for_print, lightness, looks_of
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


def test_lines_differ_without_colour():
    """Any schedules in a picture differ in lightness or dashes, for colour-blind readers, too."""
    # Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision
    # deficiency", 2009: severity 1 of protan, deutan and tritan
    protan = ((0.1523, 1.0526, -0.2049), (0.1145, 0.7863, 0.0992), (-0.0039, -0.0481, 1.0520))
    deutan = ((0.3673, 0.8606, -0.2280), (0.2801, 0.6725, 0.0474), (-0.0118, 0.0429, 0.9689))
    tritan = ((1.2555, -0.0767, -0.1788), (-0.0784, 0.9308, 0.1476), (0.0047, 0.6914, 0.3039))
    looks = for_print([Look(colour, 0) for colour in range(len(COLOURS))])
    for a, b in itertools.combinations(looks, 2):
        if a.dash == b.dash:
            for vision in (np.eye(3), protan, deutan, tritan):
                seen = [lightness(seen_as(COLOURS[look.colour], vision)) for look in (a, b)]
                assert abs(seen[0] - seen[1]) > 8.0, (a, b)


def seen_as(colour: str, matrix) -> str:
    """An sRGB colour after a transformation of its linear channels."""
    channels = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(matrix) @ linear, 0.0, 1.0)
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(255 * channel):02X}" for channel in coded)


@given(st.sets(st.builds(Look, st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=8))
def test_dashes_are_chosen_by_lightness(looks):
    """Lines with equal dashes differ in lightness, whatever schedules a picture has."""
    printed = for_print(sorted(looks, key=lambda look: (look.colour, look.dash)))

    assert len(set(printed)) == len(looks)
    for a, b in itertools.combinations(printed, 2):
        apart = abs(lightness(COLOURS[a.colour]) - lightness(COLOURS[b.colour]))
        assert a.dash != b.dash or apart >= APART


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


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400), st.integers(4, 40))
def test_fewer_points_keep_every_extreme(values, most):
    """Downsampling keeps ends, minimum and maximum in order, with hardly more points than
    allowed.
    """
    found = np.array(values)
    kept = extremes(found, most)

    assert kept.size <= most + 2
    assert (np.diff(kept) > 0).all()
    assert (kept[0], kept[-1]) == (0, found.size - 1)
    assert (found[kept].min(), found[kept].max()) == (found.min(), found.max())


def test_spikes_survive():
    """Each of many single-step spikes keeps its step and its value."""
    values = np.sin(np.arange(10_000) / 700)
    spikes = np.arange(137, 10_000, 401)
    values[spikes] = np.where(np.arange(spikes.size) % 2, 50.0, -50.0) + np.arange(spikes.size)

    kept = extremes(values, 200)
    assert set(spikes.tolist()) <= set(kept.tolist())
    assert kept.size <= 202


def test_gaps_stay_gaps():
    """No line is drawn across values that are not finite."""
    values = np.ones(1000)
    values[500:520] = NAN

    kept = extremes(values, 100)
    assert np.isnan(values[kept]).any()
    assert np.isfinite(values[kept]).sum() >= 50
    assert extremes(np.full(300, NAN), 100).size <= 102


def test_stretches():
    """Means, minima and maxima of each stretch are over its finite values."""
    values = np.array([1.0, 3.0, NAN, 5.0, NAN, NAN])
    starts = stretches(6, 3)

    assert starts.tolist() == [0, 2, 4]
    assert np.array_equal(means(values, starts), [2.0, 5.0, NAN], equal_nan=True)
    assert np.array_equal(lowest(values, starts), [1.0, 5.0, NAN], equal_nan=True)
    assert np.array_equal(highest(values, starts), [3.0, 5.0, NAN], equal_nan=True)
    assert stretches(2, 5).tolist() == [0, 1]


def test_a_schedule_has_its_colour_whoever_wins(run_of):
    """Colours follow names, not ranks; more schedules than colours differ by dashes."""
    one = compared(run_of(CONSTANT, 0, loss=[1.0]), run_of(STEP, 0, loss=[2.0]))
    other = compared(run_of(CONSTANT, 0, loss=[2.0]), run_of(STEP, 0, loss=[1.0]))
    many = compared(*(
        run_of(Schedule("StepLR", {"step_size": size}), 0, loss=[1.0]) for size in range(60)
    ))  # fmt: skip

    assert looks_of(one.schedules) == looks_of(other.schedules)[::-1]
    assert len(set(looks_of(many.schedules))) == 60
    assert {look.dash for look in looks_of(one.schedules)} == {0}
    assert len(COLOURS) * len(DASHES) == 63
