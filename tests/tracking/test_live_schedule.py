"""Runs whose learning rate no readable scheduler moves."""

from __future__ import annotations

import copy
import math
import warnings

import mlflow
import numpy as np
import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, StepLR

import lrtrack
from lrtrack.journal.course import course_of
from lrtrack.journal.events import Entry
from lrtrack.records import Run
from lrtrack.schedules import infer_schedule
from lrtrack.tracking.live_schedule import LiveSchedule
from lrtrack.tracking.rate_curve import RateCurve

STEPS = 40


def cosine(step: int) -> float:
    """Return the rate of a warm-up from zero and a half cosine, as nanoGPT computes it."""
    if step < 10:
        return 0.1 * step / 10
    return 0.05 * (1 + math.cos(math.pi * (step - 10) / 30))


def halving(step: int) -> float:
    """Return a rate that is halved every 8 steps."""
    return 0.1 * 0.5 ** (step // 8)


def train(rate, schedule=None, steps=STEPS, **options):
    """Train with a rate that is set by hand before each step; returns the block's run."""
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = SGD([weight], lr=0.1)
    scheduler = schedule(optimizer) if schedule else None
    options = {"tracker": "local", "flush_timeout": 0.0, **options}
    with lrtrack.track(optimizer, scheduler, **options) as run:
        for step in range(steps):
            if rate is not None:
                optimizer.param_groups[0]["lr"] = rate(step)
            optimizer.zero_grad()
            (weight * 0.01).square().sum().backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
    return run


def test_a_rate_moved_by_hand_has_its_schedule(local) -> None:
    """A run without a scheduler is called by the schedule that its rates show, in its name, too."""
    train(cosine, seed=3)
    (history,) = local()
    schedule = history.run.schedule

    assert schedule.label == "≈ warmup(start=0, steps=10) → cosine(steps=30)"
    assert (schedule.name, schedule.source) == ("warmup -> cosine", "inferred")
    assert history.run.name == "warmup -> cosine-seed3"
    assert history.run.fields()["scheduler.source"] == "inferred"


def test_a_rate_that_stays_is_constant(local) -> None:
    """A run whose rate never moved keeps its constant schedule."""
    train(None)
    (history,) = local()

    assert history.run.schedule == lrtrack.Schedule("constant")
    assert history.run.schedule.source == "declared"


def test_a_name_of_the_user_stays(local) -> None:
    """An inferred schedule does not change a name that the user gave."""
    train(halving, name="mine")
    (history,) = local()

    assert history.run.name == "mine"
    assert history.run.schedule.label == "≈ step(gamma=0.5, steps=8)"


def test_two_schedules_by_hand_are_two_rows(clean_place) -> None:
    """A comparison of two hand-set schedules with three seeds each has two rows of three runs."""
    for rate in (cosine, halving):
        for seed in range(3):
            train(rate, seed=seed, experiment="e")
    comparison = lrtrack.compare("e", tracker="local")

    assert sorted((item.label, item.runs) for item in comparison.schedules) == [
        ("≈ step(gamma=0.5, steps=8)", 3),
        ("≈ warmup(start=0, steps=10) → cosine(steps=30)", 3),
    ]
    assert {item.source for item in comparison.schedules} == {"inferred"}


def test_a_function_that_cannot_be_read_has_its_curve(local) -> None:
    """A scheduler with an opaque function keeps its class name and gets its curve's text."""
    factors = [0.5 ** (step // 8) for step in range(STEPS + 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train(None, lambda optimizer: LambdaLR(optimizer, factors.__getitem__))
    (history,) = local()

    assert history.run.schedule.name == "LambdaLR"
    assert history.run.schedule.params["curve"] == "step(steps=8, gamma=0.5)"


@pytest.mark.parametrize(
    ("rate", "schedule", "expected"),
    [
        (None, lambda optimizer: CosineAnnealingLR(optimizer, STEPS), None),
        (None, lambda optimizer: StepLR(optimizer, 9), None),
        (
            lambda step: 0.1 if step < 20 else 0.05,
            lambda optimizer: StepLR(optimizer, STEPS),
            "from step 20 on, the learning rate was not StepLR's alone: it was 0.05 instead of "
            "0.1, 0.5 times that; it differed up to step 39.",
        ),
    ],
)
def test_a_scheduler_that_is_not_alone(local, rate, schedule, expected) -> None:
    """LR031 names the step from which on the rate was not the scheduler's, and by what factor."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train(rate, schedule)
    (history,) = local()
    messages = [item["message"] for item in history.run.diagnoses if item["code"] == "LR031"]

    assert messages == ([] if expected is None else [expected])


@pytest.mark.parametrize("every", [1, 4])
def test_a_rate_that_stays_while_the_scheduler_moves(local, every) -> None:
    """LR031 names the first recorded step of a held rate that was not the scheduler's."""
    rate = lambda step: 0.1 if step < 30 else 0.05  # noqa: E731
    train(rate, lambda optimizer: StepLR(optimizer, 10, gamma=0.5), every=every)
    (history,) = local()
    (message,) = [item["message"] for item in history.run.diagnoses if item["code"] == "LR031"]
    first, last = (10, 39) if every == 1 else (12, 36)

    assert message == (
        f"from step {first} on, the learning rate was not StepLR's alone: it was 0.1 instead of "
        f"0.05, 2 times that; it differed up to step {last}."
    )


def test_held_rates_are_put_back() -> None:
    """A curve returns 100,000 equal rates of which it kept two, and no step without a record."""
    curve, steps = RateCurve(), np.arange(100_000)
    curve.add(steps, np.full(100_000, 0.1))
    curve.add(np.array([100_000, 100_010, 100_020, 100_023]), np.full(4, 0.1))
    curve.add(np.array([100_015, 100_100]), np.full(2, 0.1))  # after a return to this step
    later = [100_000, 100_010, 100_015, 100_100]

    assert curve.arrays()[0].tolist() == [0, 99_999, *later[:1], *later[2:]]
    assert curve.with_held(200_000)[0].tolist() == [*steps.tolist(), *later]
    assert curve.with_held(3)[0].tolist() == [0, 1, 2, 3, 99_999, *later[:1], *later[2:]]


def test_mlflow_has_the_schedule_at_the_end(clean_place) -> None:
    """Tags, params and name in MLflow are those of the inferred schedule."""
    train(halving, tracker="mlflow", experiment="e", flush_timeout=300.0)
    client = mlflow.MlflowClient(f"sqlite:///{clean_place / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("e").experiment_id])

    assert run.info.run_name == "step"
    assert run.data.params["scheduler"] == "step"
    assert run.data.params["scheduler.steps"] == "8"
    assert run.data.tags["lrtrack.scheduler.name"] == "step"
    assert run.data.tags["lrtrack.scheduler.source"] == "inferred"
    assert lrtrack.compare("e").schedules[0].label == "≈ step(gamma=0.5, steps=8)"


def test_wandb_has_the_schedule_at_the_end(wandb_server) -> None:
    """Config, tags and name in W&B are those of the inferred schedule."""
    train(halving, tracker="wandb", experiment="e", flush_timeout=300.0)
    (run,) = wandb_server.runs("tester/e")

    assert run.config["lrtrack"]["scheduler"]["name"] == "step"
    assert run.config["lrtrack"]["scheduler"]["source"] == "inferred"
    assert "step" in run.tags
    assert "constant" not in run.tags


def test_the_schedule_is_known_while_the_training_runs() -> None:
    """A schedule is reported once twice as many steps show the same, and not again."""
    weight = torch.nn.Parameter(torch.ones(2))
    run = Run("id", "name", lrtrack.Schedule("constant"), {})
    live = LiveSchedule(run, SGD([weight], lr=0.1), None)
    reports = []
    for step in range(0, 1600, 50):
        steps = np.arange(step, step + 50)
        live.add(steps, {"lr": (np.array([halving(int(at) // 10) for at in steps]), None)})
        schedule = live.news(step + 50)
        reports += [] if schedule is None else [(step + 50, schedule.label)]

    assert reports == [(200, "≈ step(gamma=0.5, steps=80)")]


@pytest.mark.parametrize("rows", [7, 1000])
def test_a_long_constant_rate_is_no_gap(rows) -> None:
    """A stretch of one rate counts, although few of its records are kept, however they arrive."""
    lr = np.array([0.1 * min(1, (step + 1) / 20, (200 - step) / 60) for step in range(200)])
    run = Run("id", "name", lrtrack.Schedule("constant"), {})
    live = LiveSchedule(run, SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1), None)
    for first in range(0, 200, rows):
        live.add(np.arange(first, min(first + rows, 200)), {"lr": (lr[first : first + rows], None)})
    schedule = live.at_end(None)

    assert schedule is not None
    assert schedule.label == "≈ wsd(decay=60, start=0.05, steps=200, warmup=19)"


def test_a_killed_run_has_the_schedule_that_was_clear() -> None:
    """A journal without an end has the schedule that its rates showed while it was written."""
    schedule = infer_schedule([halving(step) for step in range(40)]).schedule
    run = Run("id", "constant", lrtrack.Schedule("constant"), {"name": "SGD"})
    entry = Entry(0, 1, event={"event": "schedule", "schedule": schedule.to_dict(), "name": "step"})
    completed = course_of([entry]).completed(run)

    assert completed.schedule == schedule
    assert completed.name == "step"


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    "spec",
    [
        "step(steps=5, gamma=0.1)",
        "warmup(steps=4) -> cosine(steps=12)",
        "onecycle(max_lr=0.4, steps=16)",
        "cosine_restarts(steps=4)",
    ],
)
def test_a_resume_with_the_state_of_the_scheduler_is_sound(spec: str, inside: bool, local) -> None:
    """Rates after a resume are the scheduler's own, wherever its state is loaded."""

    def training():
        weight = torch.nn.Parameter(torch.ones(2))
        optimizer = SGD([weight], lr=0.1, momentum=0.9)
        return weight, optimizer, lrtrack.scheduler(optimizer, spec)

    def steps(weight, optimizer, scheduler, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            (weight * 0.01).square().sum().backward()
            optimizer.step()
            scheduler.step()

    first = training()
    with lrtrack.track(*first[1:], tracker="local", flush_timeout=0.0) as run:
        steps(*first, 6)
        saved = copy.deepcopy([run.state_dict(), *(part.state_dict() for part in first[1:])])
        steps(*first, 2)
    again = training()
    load = lambda: [part.load_state_dict(s) for part, s in zip(again[1:], saved[1:], strict=True)]  # noqa: E731
    if not inside:
        load()
    options = {"tracker": "local", "flush_timeout": 0.0, "resume": saved[0]["id"]}
    with lrtrack.track(*again[1:], **options) as run:
        if inside:
            load()
        run.load_state_dict(saved[0])
        steps(*again, 8)
    (history,) = local()

    assert history.steps.tolist() == list(range(14))
    assert history.run.diagnoses == ()
