"""Runs that were logged without lrtrack, as histories."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrtrack
from lrtrack.records import Guesses, History, State
from lrtrack.records.alignment import MAX_STEP, OddRun, Series, columns_of, sound
from lrtrack.records.logged import LoggedRun, interpret
from lrtrack.records.roles import Roles, device_of, rate_metric, seed_of

NAN = math.nan


def points(steps: Any, values: Any, start: float = 100.0) -> Series:
    """A metric whose points are a second apart."""
    size = len(steps)
    return Series(np.array(steps, np.int64), np.array(values, float), start + np.arange(size))


def logged(metrics: dict[str, Series], asked: Roles | None = None, **fields: Any) -> History:
    """The history of a run with these metrics."""
    run = LoggedRun("id", "name", "memory", State.FINISHED, metrics, **fields)
    return interpret(run, asked or Roles()).history


@pytest.mark.parametrize(
    ("names", "rate"),
    [
        (["loss", "lr", "learning_rate"], "lr"),
        (["train/lr", "learning_rate"], "learning_rate"),
        (["train/lr", "train/learning_rate"], "train/learning_rate"),
        (["lr-AdamW", "train/lr"], "train/lr"),
        (["lr-SGD-momentum", "lr-SGD"], "lr-SGD"),
        (["lr-AdamW/pg10", "lr-AdamW/pg2"], "lr-AdamW/pg2"),
        (["lr-Adam-1", "lr-Adam"], "lr-Adam"),
        (["lr-Adam/pg1-weight_decay"], None),
        (["opt/learning_rate", "a/b/lr"], "a/b/lr"),
        (["optim/lr-AdamW/pg1", "optim/lr-AdamW/pg1-momentum"], "optim/lr-AdamW/pg1"),
        (["lrs", "color", "val/lr_scale"], None),
    ],
)
def test_the_metric_that_is_the_rate(names: list[str], rate: str | None):
    """The learning rate is the metric with the most usual name, wherever it is logged."""
    assert rate_metric(names) == rate


def test_the_metric_that_the_user_names():
    """The metric that the user names is the learning rate, and no other is if it is missing."""
    assert rate_metric(["lr", "eta"], "eta") == "eta"
    assert rate_metric(["lr"], "eta") is None


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"seed": "7", "random_seed": "8"}, ("seed", 7)),
        ({"seed": None, "data_seed": 3.0, "random_seed": "none"}, ("data_seed", 3)),
        ({"trainer.seed": "5", "a.b.seed": "6"}, ("a.b.seed", 6)),
        ({"hparams/seed": "5"}, ("hparams/seed", 5)),
        ({"seed": True, "reseed": 4}, (None, None)),
        ({"seed": "9" * 40}, (None, None)),
        ({"seed": 2**64}, (None, None)),
    ],
)
def test_the_setting_that_is_the_seed(params: dict[str, Any], found: tuple[str | None, int | None]):
    """The seed is the first integer under a usual name."""
    assert seed_of(params, {}) == found


def test_the_field_that_the_user_names():
    """The seed may be any setting or tag that the user names."""
    params, tags = {"fold": "2", "seed": "7"}, {"trial": "4"}

    assert seed_of(params, tags, "fold") == ("fold", 2)
    assert seed_of(params, tags, "config.fold") == ("fold", 2)
    assert seed_of(params, tags, "trial") == ("tags.trial", 4)
    assert seed_of(params, tags, "absent") == (None, None)


def test_the_device():
    """The device is the one that a setting names."""
    assert device_of({"device": "cuda:0"}) == "cuda"
    assert device_of({"accelerator": "auto", "device": 3}) == ""


def test_what_a_history_says_about_a_logged_run():
    """Settings are the config without the seed, and all metrics keep their names."""
    rates = {"learning_rate": points(range(3), [0.1] * 3), "eval/f1": points([2], [0.5])}
    history = logged(
        rates, params={"seed": "1", "model": {"depth": 2}, "batch_size": "8", "device": "cpu"}
    )

    assert history.guesses == Guesses("learning_rate", "seed")
    assert (history.run.seed, history.run.device_type) == (1, "cpu")
    assert history.run.config == {"model.depth": 2, "batch_size": "8", "device": "cpu"}
    assert list(history.metrics) == ["learning_rate", "eval/f1", "lr"]
    assert history.series("lr")[1].tolist() == [0.1] * 3
    assert history.run.schedule.label == "≈ constant"


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("stride", [1, 10])
@pytest.mark.parametrize("spec", ["cosine(steps=120)", "exponential(gamma=0.97)"])
def test_steps_that_count_from_one(spec: str, stride: int, first: int):
    """A schedule is the same whether steps were counted from 0 or 1, and logged at each or not."""
    at = np.arange(stride - 1, 120, stride)
    rates = lrtrack.simulate(spec, 120, lr=0.1)[:, 0]
    history = logged({"lr": points(at + first, rates[at])})

    assert history.run.schedule.label == f"≈ {spec}"


def test_a_formula_is_preferred_to_straight_lines():
    """Where the count of steps is in doubt, a chain of kinds counts more than a shorter text."""
    rates = [0.0, 0.025, 0.05, 0.075] + [0.1 * (24 - step) / 20 for step in range(4, 24)]
    history = logged({"lr": points(range(1, 25), rates)})

    assert history.run.schedule.name == "warmup -> linear"


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("warmup", [15, 25])
@pytest.mark.parametrize("decay", ["cosine(steps=85)", "linear(end=0, start=1, steps=85)"])
def test_a_warm_up_of_few_rates(decay: str, warmup: int, first: int):
    """One rate in ten steps is enough for a warm-up from 0 whose end was not logged."""
    spec = f"warmup(start=0, steps={warmup}) -> {decay}"
    rates = lrtrack.simulate(spec, 100, lr=0.1)[:, 0]
    at = np.arange(9, 100, 10)
    history = logged({"lr": points(at + first, rates[at])})

    assert history.run.schedule.label == f"≈ {spec.replace('->', '→')}"


def test_columns_too_large_for_the_memory():
    """Metrics whose columns would take gigabytes are refused before memory is taken."""
    metrics = {str(at): points([at], [0.0]) for at in range(20_000)}
    with pytest.raises(OddRun, match="it has 20,000 metrics at 20,000 steps"):
        logged(metrics)


def test_rates_that_show_nothing():
    """A run without rates, or with one rate of many steps, has no known schedule."""
    loss = points(range(3), [1.0, 2.0, 3.0])
    single = logged({"loss": loss, "lr": points([0], [0.1])})

    assert logged({"loss": loss}).run.schedule.name == "unknown"
    assert logged({}).run.schedule.name == "unknown"
    assert logged({"lr": points([0, 1], [NAN, NAN])}).run.schedule.name == "unknown"
    assert (single.run.schedule.name, single.guesses) == ("unknown", Guesses("lr", None))
    assert logged({"lr": points([0], [0.1])}).run.schedule.label == "≈ constant"


def test_the_rate_that_the_user_names_replaces_another():
    """The metric `lr` of a history is the learning rate, whatever the run called by that name."""
    metrics = {"lr": points([0, 1], [1.0, 1.0]), "eta": points([0, 1], [0.2, 0.2])}

    assert logged(metrics, Roles("eta")).metrics["lr"].tolist() == [0.2, 0.2]


def test_rates_that_are_none():
    """Negative learning rates are refused with the name of the metric."""
    with pytest.raises(OddRun, match="its metric 'lr' is no learning rate"):
        logged({"lr": points([0, 1], [0.1, -0.1])})


def test_metrics_at_different_steps():
    """Columns span the steps of all metrics; the last of several points at a step counts."""
    columns = columns_of(
        {
            "val": Series(np.array([5]), np.array([9.0]), np.array([50.0])),
            "loss": points([1, 0, 1], [1.0, NAN, math.inf]),
            "lr": points([0, 1], [0.1, 0.2], start=10.0),
        },
        "lr",
    )

    assert columns.steps.tolist() == [0, 1, 5]
    assert columns.times.tolist() == [10.0, 11.0, 50.0]
    assert columns.metrics["loss"][1] == math.inf
    assert math.isnan(columns.metrics["loss"][0])
    assert columns.present["loss"].tolist() == [True, True, False]
    assert columns.metrics["val"][2] == 9.0


def test_metrics_without_steps():
    """Metrics without steps belong to the step that the rate had at their times."""
    columns = columns_of(
        {"lr": points([3, 4, 9], [1, 1, 1]), "loss": points([0, 0, 0], [7, 8, 9], start=100.5)},
        "lr",
    )
    alone = columns_of({"lr": points([0, 0], [1, 2]), "loss": points([0, 0], [3, 4])}, "lr")

    assert columns.steps[columns.present["loss"]].tolist() == [3, 4, 9]
    assert columns.metrics["loss"].tolist() == [7, 8, 9]
    assert alone.steps.tolist() == [0, 1]
    assert alone.metrics["loss"].tolist() == [3, 4]


def test_points_that_make_no_sense():
    """Points with an impossible step or time are left out and counted."""
    odd = Series(np.array([-1, 0, MAX_STEP, 1]), np.ones(4), np.array([1.0, 2.0, 3.0, math.nan]))
    kept, count = sound({"lr": odd, "gone": points([-1], [0.0])})

    assert (list(kept), kept["lr"].steps.tolist(), count) == (["lr"], [0], 4)


_POINTS = st.lists(
    st.tuples(st.integers(0, 6), st.floats(width=32), st.integers(0, 9)), min_size=1, max_size=9
)


@settings(max_examples=30)
@given(st.dictionaries(st.sampled_from(["lr", "loss", "val"]), _POINTS, max_size=3))
def test_columns_hold_the_last_point_of_each_step(metrics: dict[str, list[tuple]]):
    """Each column has, at each step, the last of the metric's points there in time."""
    columns = columns_of(
        {
            name: Series(
                np.array([step for step, _, _ in own]),
                np.array([value for _, value, _ in own]),
                np.array([float(when) for _, _, when in own]),
            )
            for name, own in metrics.items()
        },
        "lr" if "lr" in metrics else None,
    )
    for name, own in metrics.items():
        if len(own) > 1 and not any(step for step, _, _ in own):
            continue  # logged without steps
        last = {step: value for step, value, _ in sorted(own, key=lambda point: point[2])}
        mask = columns.present[name]
        assert columns.steps[mask].tolist() == sorted(last)
        expected = [last[step] for step in sorted(last)]
        assert np.array_equal(columns.metrics[name][mask], expected, equal_nan=True)


@settings(max_examples=30)
@given(_POINTS, st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3))
def test_any_numbers_make_a_history_or_are_refused(own: list[tuple], params: dict[str, str]):
    """Whatever numbers a run logged as its rate, it becomes a history or is refused as odd."""
    steps, values, times = (np.array(column, float) for column in zip(*own, strict=True))
    try:
        history = logged({"lr": Series(steps.astype(np.int64), values, times)}, params=params)
    except OddRun:
        return
    assert history.metrics["lr"].shape == history.steps.shape
    assert history.run.schedule.label
