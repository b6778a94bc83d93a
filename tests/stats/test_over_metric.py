"""Comparisons over a metric as the x axis: positions of steps, the way to the target, warnings."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrtrack.errors import NothingFound
from lrtrack.records import History
from lrtrack.reports.order import by_field
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories, over_metric
from lrtrack.stats.figures import MetricReach
from lrtrack.stats.rulers import axis_metrics, placement_of

A, B = Schedule("ALR"), Schedule("BLR")
NAN, INF = float("nan"), float("inf")


def made(schedule=A, seed=0, step=None, config=None, **metrics):
    """A finished run of these numbers."""
    return History.from_series(schedule, metrics, seed=seed, step=step, config=config)


def places(history, x="tokens"):
    """The positions of all steps of a run; None where there is none."""
    ruler = placement_of(history, x).ruler
    return [None if np.isnan(at) else float(at) for at in ruler.at(history.steps)]


def compared(*histories, x="tokens", target=0.5, **options):
    """A comparison of runs by their loss."""
    options = {"experiment": None, "metric": "loss", "target": target, "x": x, **options}
    return compare_histories(list(histories), **options)


def codes(comparison):
    """The messages of warnings about the x axis, by their code."""
    return {item.code: item.message for item in comparison.warnings if item.code[:2] == "x-"}


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([10.0, 20.0, 30.0, 40.0], [10, 20, 30, 40]),
        ([None, 20.0, None, 60.0], [10, 20, 40, 60]),
        ([0.0, None, None, 60.0], [0, 20, 40, 60]),
        ([None, -8.0, None, 0.0], [None, -8, -4, 0]),
        ([None, 20.0, NAN, INF], [10, 20, None, None]),
        ([None, 20.0, 20.0, 50.0], [10, 20, 20, 50]),
        ([None, None, 30.0, None], [10, 20, 30, None]),
    ],
)
def test_positions_of_steps(tokens, expected):
    """Between logged values a total grows on a straight line, from 0 before the first step."""
    assert places(made(tokens=tokens)) == expected


@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(0.0, 1e12)), min_size=2, max_size=20).filter(
        lambda pairs: any(rise for _, rise in pairs[1:])
    )
)
def test_logged_values_are_kept_and_nothing_falls(pairs):
    """The positions of logged steps are their values, and no position is below one before it."""
    steps = np.cumsum([gap for gap, _ in pairs]) - 1
    totals = np.cumsum([rise for _, rise in pairs])
    if totals[0] == totals[-1]:
        return
    ruler = placement_of(made(tokens=totals, step=steps), "tokens").ruler
    everywhere = ruler.at(np.arange(-1, steps[-1] + 1))
    known = everywhere[np.isfinite(everywhere)]

    assert ruler.at(steps).tolist() == totals.tolist()
    assert (np.diff(known) >= -1e-9 * totals[-1]).all()
    assert np.isnan(ruler.at(steps[-1:] + 1)).all()


@pytest.mark.parametrize(
    ("tokens", "fault"),
    [
        ([32.0, 64.0, 32.0, 64.0], "falls from 64 to 32 at step 2"),
        ([32.0, None, 32.0, 32.0], "is 32 at every step"),
        ([None, 0.0, None, None], "is 0 at every step"),
        ([None, None, None, None], ""),
    ],
)
def test_what_is_no_running_total(tokens, fault):
    """A metric that falls or never moves is no axis; one without any value is simply missing."""
    placement = placement_of(made(tokens=tokens, loss=[1.0] * 4), "tokens")

    assert (placement.ruler, placement.fault) == (None, fault)


def test_a_branch_goes_on_with_the_total_of_its_parent():
    """The values up to the step at which a run branched off are those of its parent."""
    parent = made(tokens=[10.0, 20.0, 30.0, 40.0])
    child = made(tokens=[25.0, 35.0], step=[2, 3])
    child = replace(child, parent=parent, run=replace(child.run, branched_at=2))

    assert placement_of(child, "tokens").ruler.places.tolist() == [0, 10, 20, 25, 35]


def test_the_way_to_the_target():
    """Each schedule says how many tokens its runs had seen when they reached the target."""
    found = compared(
        made(A, 0, loss=[1.0, 0.5, 0.4], tokens=[100.0, 200.0, 300.0]),
        made(A, 1, loss=[1.0, 0.7, 0.5], tokens=[None, None, 900.0]),
        made(B, 0, loss=[1.0, 0.9, 0.8], tokens=[100.0, 200.0, 300.0]),
    )
    reaches = {item.schedule: item.x_to_target for item in found.schedules}

    assert reaches["ALR"] == MetricReach(2, 550.0, metric="tokens", runs=2)
    assert reaches["BLR"] == MetricReach(0, None, metric="tokens", runs=1)
    assert found.to_dict()["schedules"][0]["x_to_target"] == {
        "metric": "tokens", "reached": 2, "median": 550.0, "resolution": None, "runs": 2,
    }  # fmt: skip


def test_a_target_after_the_last_logged_value_is_not_reached():
    """Where the total is no longer known, the run counts as one that ended there."""
    early = made(A, 0, loss=[1.0, 0.5, 0.4], tokens=[100.0, 200.0, 300.0])
    late = made(A, 1, loss=[1.0, 0.8, 0.5], tokens=[100.0, 150.0, None])
    (item,) = compared(early, late).schedules

    assert item.steps_to_target.reached == 2
    assert (item.x_to_target.reached, item.x_to_target.runs) == (1, 2)
    assert item.x_to_target.median == 200.0


def test_a_metric_that_is_recorded_now_and_then_has_a_resolution():
    """The target counts in the middle between two records, on the axis of the total."""
    (item,) = compared(
        made(loss=[1.0, None, None, None, 0.4], tokens=[10.0, None, None, None, 50.0])
    ).schedules

    assert (item.steps_to_target.median, item.steps_to_target.resolution) == (2.0, 2.0)
    assert (item.x_to_target.median, item.x_to_target.resolution) == (30.0, 20.0)


def test_runs_without_the_total_are_named_and_stay_in_the_ranking():
    """Runs that lack the metric, or log something else under its name, are warned of."""
    found = compared(
        made(A, 0, loss=[1.0, 0.4], tokens=[10.0, 20.0]),
        made(A, 1, loss=[1.0, 0.3]),
        made(B, 0, loss=[1.0, 0.2], tokens=[20.0, 10.0]),
    )
    warnings = codes(found)

    assert [(item.schedule, item.runs) for item in found.schedules] == [("BLR", 1), ("ALR", 2)]
    assert [item.x_to_target.runs for item in found.schedules] == [0, 1]
    assert warnings == {
        "x-missing": (
            "1 of 3 runs have no tokens (ALR-seed1): they are left out of the curves and of the "
            "time to the target."
        ),
        "x-not-a-total": (
            "In 1 of 3 runs tokens is no running total (in BLR-seed0 it falls from 20 to 10 at "
            "step 1): they are left out of the curves and of the time to the target. Fix: log the "
            "total since the training began, not the amount of a step or an epoch."
        ),
    }


def test_without_any_total_there_is_an_error_with_the_alternatives():
    """A missing metric, amounts of a step, and epochs that nobody defined are told apart."""
    runs = [made(loss=[1.0, 0.5, 0.7], samples=[8.0, 16.0, 24.0], batch=[8.0, 8.0, 8.0])]
    messages = {}
    for x in ("sample", "batch", "epoch"):
        with pytest.raises(NothingFound) as error:
            compared(*runs, x=x)
        messages[x] = str(error.value)

    assert messages["sample"] == (
        "Unknown x axis 'sample'. Did you mean 'samples'? Available: samples, step, time. No run "
        "has logged sample."
    )
    assert messages["batch"] == (
        "batch is no running total: it is 8 at every step. Fix: log the total since the training "
        "began, not the amount of a step or an epoch. Other x axes: samples, step, time."
    )
    assert messages["epoch"].startswith("There is no epoch axis: 1 of 1 runs do not say")


def test_what_can_serve_as_an_axis():
    """Metrics that grow in every run, not those that fall, or are logged once, or not by all."""
    one = made(loss=[2.0, 1.0], tokens=[1.0, 2.0], once=[None, 3.0], own=[1.0, 2.0])
    other = made(loss=[2.0, 1.0], tokens=[5.0, 5.5], once=[None, 3.0])

    assert axis_metrics([one, other]) == {"tokens"}
    assert axis_metrics([]) == set()


def test_epochs_count_like_any_total():
    """Runs that do not say what an epoch is are left out; the target is reached in epochs."""
    found = compared(
        made(A, 0, loss=[1.0, 0.9, 0.8, 0.5], config={"steps_per_epoch": 2}),
        made(A, 1, loss=[1.0, 0.9, 0.8, 0.5]),
        x="epoch",
    )

    assert found.schedules[0].x_to_target == MetricReach(1, 1.5, metric="epoch", runs=1)
    assert list(codes(found)) == ["x-missing"]


@pytest.mark.parametrize("x", ["step", "time"])
def test_steps_and_seconds_need_no_figure_of_their_own(x):
    """Without a metric as the axis, nothing is added to the result."""
    found = compared(made(loss=[1.0, 0.4], tokens=[1.0, 2.0]), x=x)

    assert (found.x, found.schedules[0].x_to_target, codes(found)) == (x, None, {})
    assert "x_to_target" not in json.dumps(found.to_dict())


def test_another_axis_replaces_the_figures_and_warnings():
    """The same comparison can be read over another metric."""
    tokens = compared(
        made(A, 0, loss=[1.0, 0.4], tokens=[10.0, 20.0], samples=[1.0, 2.0]),
        made(A, 1, loss=[1.0, 0.4], samples=[1.0, 2.0]),
    )
    samples = over_metric(tokens, "samples")

    assert (list(codes(tokens)), list(codes(samples))) == (["x-missing"], [])
    assert samples.schedules[0].x_to_target == MetricReach(2, 2.0, metric="samples", runs=2)


def test_over_several_tasks_schedules_are_scored_by_the_total():
    """A schedule that needs twice the tokens of the fastest one has that ratio on the task."""
    found = compared(
        *(
            made(schedule, config={"data": task}, loss=[1.0, 0.4], tokens=[size, 2 * size])
            for task, scale in (("cifar", 10.0), ("mnist", 1.0))
            for schedule, size in ((A, scale), (B, 2 * scale))
        ),
        task="config.data",
    )
    by_name = {item.schedule: item for item in found.schedules}

    assert by_name["ALR"].across.x_to_target.ratios == (1.0, 1.0)
    assert by_name["BLR"].across.x_to_target.ratios == (2.0, 2.0)
    assert [task.x_to_target.median for task in by_name["BLR"].tasks] == [40.0, 4.0]
    assert by_name["BLR"].across.steps_to_target.ratios == (1.0, 1.0)


def test_tuned_schedules_and_other_orders():
    """A tuned schedule counts the runs that are compared, and rows can follow the total."""
    runs = [
        made(schedule, seed, config={"width": width}, loss=[1.0, width + seed / 100],
             tokens=[0.0, size])
        for schedule, size in ((A, 9.0), (B, 5.0)) for width in (0.2, 0.4) for seed in range(2)
    ]  # fmt: skip
    found = compared(*runs, tune="config.width", baseline="ALR, config.width=0.2")
    ordered = by_field(found, "x_to_target")

    assert [item.x_to_target.runs for item in found.schedules] == [2, 2]
    assert [(i.schedule, i.x_to_target.median) for i in ordered.schedules] == [
        ("BLR", 5.0), ("ALR", 9.0),
    ]  # fmt: skip
