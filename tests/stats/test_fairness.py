"""Warnings about comparisons that are less fair than they look."""

import pytest

from lrtrack.records import State
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories
from lrtrack.stats.setup_diff import cut, listed

STEP = Schedule("StepLR")


def _warnings(histories, **options):
    found = compare_histories(histories, experiment=None, metric="loss", **options)
    return {item.code: item.message for item in found.warnings}


def test_different_budgets(make_history):
    """Finished runs with different step counts get a warning; a running one does not."""
    long, short = make_history({"loss": [1.0] * 9}), make_history({"loss": [1.0] * 5}, seed=1)
    running = make_history({"loss": [1.0] * 5}, seed=1, state=State.RUNNING)

    assert "between 5 and 9 optimizer steps" in _warnings([long, short])["budget-differs"]
    assert "budget-differs" not in _warnings([long, running])


def test_mixed_devices(make_history):
    """Runs on different devices get a warning about their times."""
    histories = [
        make_history({"loss": [1.0]}, seed=0, device_type="cuda", device_name="NVIDIA H200"),
        make_history({"loss": [1.0]}, seed=1, device_type="cpu"),
    ]

    assert "(NVIDIA H200, cpu)" in _warnings(histories)["mixed-devices"]


@pytest.mark.parametrize(
    ("field", "runs"),
    [
        ("optimizer.lr", [{"optimizer": {"lr": 0.1}}, {"optimizer": {"lr": 0.02}}]),
        ("config.depth", [{"config": {"depth": 2}}, {"config": {}}]),
        ("config.a.b", [{"config": {"a": {"b": 1}}}, {"config": {"a": {"b": 2}}}]),
    ],
)
def test_runs_averaged_together_differ(make_history, field, runs):
    """A field that differs within a group is named with a way to separate its values, which
    works.
    """
    histories = [make_history({"loss": [1.0]}, seed=at, **run) for at, run in enumerate(runs)]
    together = f"schedule,{field}"

    assert f"use --group-by {together} " in _warnings(histories)["config-differs"]
    assert "config-differs" not in _warnings(histories, group_by=together)


def test_seeds_may_differ(make_history):
    """A seed in the config may differ within a group."""
    histories = [make_history({"loss": [1.0]}, seed=at, config={"seed": at}) for at in (0, 1)]

    assert _warnings(histories) == {}


def test_differing_numbers_are_in_order(make_history):
    """Differing numbers are listed in numerical order, at most a few of them."""
    rates = (10.0, 9.0, 0.5, 1.0, 2.0, 3.0, 4.0)
    histories = [
        make_history({"loss": [1.0]}, seed=at, optimizer={"lr": rate})
        for at, rate in enumerate(rates)
    ]

    assert "(0.5, 1, 2, 3, 4, … 2 more)" in _warnings(histories)["config-differs"]


def test_single_runs_are_too_few(make_history):
    """With one run per schedule, the warning says that the spread is not known."""
    histories = [
        make_history({"loss": [1.0]}, id="a", seed=0),
        make_history({"loss": [2.0]}, id="b", seed=0, schedule=STEP),
    ]

    assert "with at least 3 seeds" in _warnings(histories)["too-few-runs"]


def test_one_schedule_needs_no_test(make_history):
    """A single schedule gets no warning about too few runs."""
    assert _warnings([make_history({"loss": [1.0]})]) == {}


def test_the_order_of_values():
    """Numbers come in numeric order before other texts, five in all; long labels are cut."""
    assert listed(["a", "10", "-1", "9"]) == "-1, 9, 10, a"
    assert listed(["b", "a", "3", "1", "2"]) == "1, 2, 3, a, b"
    assert listed(["b", "a", "c", "3", "1", "2"]) == "1, 2, 3, a, b, … 1 more"
    assert [len(cut("x" * size)) for size in (39, 40, 41, 99)] == [39, 40, 40, 40]
    assert cut("x" * 41) == "x" * 39 + "…"
