"""`run.record()` records steps that no hook sees."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import lrtrack
from lrtrack.capture.device_scalars import DeviceScalar
from lrtrack.capture.ensemble import ensemble_of
from lrtrack.capture.optimizers import NoOptimizer
from lrtrack.capture.rounds import Rounds
from lrtrack.capture.step_capture import StepCapture
from lrtrack.capture.unhooked import UnhookedCapture
from lrtrack.errors import LRTrackWarning, UsageError
from lrtrack.records import History, State
from lrtrack.tracking import number_arguments
from lrtrack.tracking.manual_steps import ManualSteps


def codes(run: History) -> list[str]:
    """The codes of a run's diagnoses."""
    return [diagnosis["code"] for diagnosis in run.run.diagnoses or ()]


def test_each_call_is_a_step(local: Callable[[], list[History]]) -> None:
    """Without an optimizer, each call is the next step, and the curve of rates is the schedule."""
    rates = [0.1 * 0.5 * (1 + math.cos(math.pi * step / 40)) for step in range(41)]
    with lrtrack.track(None, tracker="local", prefix="p/") as run:
        assert run.step == -1
        for rate in rates:
            run.record(lr=rate, loss=torch.tensor(2.0), grad_norm=np.float32(0.5), tokens=7)
        run.log(val=3)
        assert run.step == 40

    (history,) = local()
    assert list(range(41)) == list(history.steps)
    assert rates == pytest.approx(list(history.metrics["p/lr"]))
    assert {
        name: history.metrics[name][-1] for name in ("p/loss", "p/grad_norm", "p/tokens", "p/val")
    } == {"p/loss": 2.0, "p/grad_norm": 0.5, "p/tokens": 7.0, "p/val": 3.0}
    assert (history.run.schedule.name, history.run.schedule.source) == ("cosine", "inferred")
    assert (dict(history.run.optimizer), history.run.device_type, codes(history)) == ({}, "cpu", [])


def test_a_declared_schedule(local: Callable[[], list[History]]) -> None:
    """A scheduler without an optimizer describes the schedule, whoever owns it."""
    other = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.5)
    schedules = [
        torch.optim.lr_scheduler.StepLR(other, 3),
        lrtrack.describe(torch.optim.lr_scheduler.StepLR(other, 3)),
    ]
    for schedule in schedules:
        run = lrtrack.start(None, schedule, tracker="local", norms="off")
        for step in range(6):
            run.record(lr=0.5 * 0.1 ** (step // 3), loss=1.0)
        run.end()

    runs = [history.run for history in local()]
    assert [(run.schedule.name, run.schedule.source) for run in runs] == [
        ("StepLR", "declared"),
        ("StepLR", "declared"),
    ]
    assert [codes(history) for history in local()] == [[], []]


def test_every_and_resume(local: Callable[[], list[History]]) -> None:
    """`every`, checkpoints and a resumed run work as with optimizers."""
    with lrtrack.track(None, tracker="local", every=2) as run:
        for step in range(5):
            run.record(lr=0.1, loss=float(step))
        state = run.state_dict()
        for step in range(5, 9):
            run.record(lr=0.1, loss=float(step))
        run.load_state_dict(state)
        run.record(lr=0.2, loss=50.0)
        run.record(lr=0.2, loss=60.0)
    with lrtrack.track(None, tracker="local", resume=state["id"]) as run:
        run.record(lr=0.3, loss=70.0)

    (history,) = local()
    assert list(history.steps) == [0, 2, 4, 6, 7]
    assert list(history.metrics["loss"]) == [0.0, 2.0, 4.0, 60.0, 70.0]


@pytest.mark.filterwarnings("ignore:Detected call of:UserWarning")  # no step of the optimizer's own
@pytest.mark.parametrize("moves_first", [True, False])
def test_rates_of_an_optimizer(moves_first: bool, local: Callable[[], list[History]]) -> None:
    """Rates that are not given are those that the step used, on either side of the scheduler."""
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD(
        [{"params": [weight], "name": "a"}, {"params": [torch.nn.Parameter(torch.ones(2))]}], 0.5
    )
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    run = lrtrack.start(optimizer, scheduler, tracker="local")
    for _ in range(3):
        weight.square().sum().backward()
        if moves_first:
            scheduler.step()
            run.record()
        else:
            run.record()
            scheduler.step()
    run.end()

    (history,) = local()
    assert [0.5, 0.25, 0.125] == list(history.metrics["lr"]) == list(history.metrics["lr/1"])
    assert list(history.metrics["loss"]) == [2.0] * 3
    assert codes(history) == []


def test_several_optimizers(local: Callable[[], list[History]]) -> None:
    """Each call is a round of several optimizers, with the rate of each."""
    weights = [torch.nn.Parameter(torch.ones(())) for _ in range(2)]
    a, b = (
        torch.optim.SGD([weight], lr=lr) for weight, lr in zip(weights, (0.5, 0.25), strict=True)
    )
    with lrtrack.track({"a": a, "b": b}, tracker="local") as run:
        for step in range(3):
            run.record(loss=float(step), grad_norm=1.0)
            run.log(val=step)

    (history,) = local()
    names = ("lr", "lr/a", "lr/b", "loss", "grad_norm", "val")
    assert [history.metrics[name][-1] for name in names] == [0.5, 0.5, 0.25, 2.0, 1.0, 2.0]
    assert (list(history.steps), codes(history)) == ([0, 1, 2], [])


def test_a_run_that_sees_its_steps(training, local: Callable[[], list[History]]) -> None:
    """A call after a step that hooks saw is reported once, and records nothing."""
    with lrtrack.track(training.optimizer, training.scheduler, tracker="local") as run:
        training.step()
        with pytest.warns(LRTrackWarning, match="sees the steps") as told:
            run.record(lr=5.0, loss=5.0)
            training.step()
            run.record(lr=5.0, loss=5.0)

    (history,) = local()
    assert len(told) == 1
    assert [step["lr"] for step in training.truth] == list(history.metrics["lr"])


def test_several_optimizers_whose_steps_are_seen(
    new_training, local: Callable[[], list[History]]
) -> None:
    """The same is reported of several optimizers, also where a step of one of them is seen."""
    a, b = new_training(), new_training()
    with lrtrack.track({"a": a.optimizer, "b": b.optimizer}, tracker="local") as run:
        with pytest.warns(LRTrackWarning, match="sees the steps") as told:
            for _ in range(3):
                a.step()
                run.record(lr=5.0)
            b.step()
            run.record(lr=5.0)

    (history,) = local()
    assert (len(told), list(history.steps)) == (1, [0, 1, 2])
    assert 5.0 not in history.metrics["lr"]


def test_after_the_end(local: Callable[[], list[History]]) -> None:
    """A call after the end is reported once, whatever its arguments are, and records nothing."""
    run = lrtrack.start(None, tracker="local")
    run.record(lr=0.1, loss=1.0)
    run.end()
    run.end("FAILED")
    with pytest.warns(LRTrackWarning, match="has ended") as told:
        run.record(lr="fast")
        run.record(lr=0.1)

    (history,) = local()
    assert (len(told), list(history.steps), history.state) == (1, [0], State.FINISHED)


def test_after_the_block(training, local: Callable[[], list[History]]) -> None:
    """The end of a block is the run's, so that `end()` does nothing then and `record()` warns."""
    with lrtrack.track(training.optimizer, training.scheduler, tracker="local") as run:
        training.step()
    run.end("FAILED")
    with pytest.warns(LRTrackWarning, match="has ended") as told:
        run.record(lr=0.1)
        run.record(lr=0.1)

    (history,) = local()
    assert (len(told), list(history.steps), history.state) == (1, [0], State.FINISHED)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", "0.1"),
        ("lr", True),
        ("lr", [0.1]),
        ("lr", torch.ones(2)),
        ("lr", torch.tensor(1j)),
        ("loss", torch.tensor(True)),
        ("grad_norm", {}),
    ],
)
def test_values_that_are_no_numbers(name: str, value: Any) -> None:
    """An argument that is no number is an error that names it."""
    with pytest.raises(UsageError, match=rf"^{name} must be a number, got"):
        number_arguments.scalar(name, value)


def test_a_mistake_makes_no_step(local: Callable[[], list[History]]) -> None:
    """A refused call makes no step; a further metric that is no number is only skipped."""
    with lrtrack.track(None, tracker="local") as run:
        with pytest.raises(UsageError, match="lr must be a number"):
            run.record(lr="fast")
        with pytest.warns(LRTrackWarning, match="'text' is not a number"):
            run.record(lr=0.1, loss=1.0, text="x")

    assert list(local()[0].steps) == [0]


def test_tensors_stay_on_their_device() -> None:
    """A value on a device is not waited for, and its device is the run's."""
    kept: list[dict[str, Any]] = []
    capture = UnhookedCapture(
        NoOptimizer(), on_step=lambda step, time, metrics: kept.append(metrics)
    )
    steps = ManualSteps(capture)
    steps.record({"lr": 0.1, "loss": torch.ones((), device="meta")}, {})

    assert isinstance(kept[0]["loss"], DeviceScalar)
    assert capture.device == ("meta", "meta")


@pytest.mark.parametrize("other_steps", [0, 2])
def test_nothing_recorded(other_steps: int, local: Callable[[], list[History]]) -> None:
    """A run without an optimizer and without a step says what was missing."""
    weight = torch.nn.Parameter(torch.ones(()))
    other = torch.optim.SGD([weight], lr=0.5)
    with (
        pytest.warns(LRTrackWarning, match="SGD.*2 steps" if other_steps else "never called"),
        lrtrack.track(None, tracker="local"),
    ):
        for _ in range(other_steps):
            other.step()

    assert codes(local()[0]) == ["LR013"]


def test_both_captures_count_by_hand() -> None:
    """The captures of one and of several optimizers have the attributes that recording needs."""
    weight = torch.nn.Parameter(torch.ones(()))
    a, b = torch.optim.SGD([weight], lr=0.5), torch.optim.SGD([weight], lr=0.25)
    captures = StepCapture(a), Rounds(ensemble_of([a, b]))
    for capture in captures:
        ManualSteps(capture).record({"loss": 1.0}, {})

    assert [(c.step, c.made, c.by_hand) for c in captures] == [(0, 1, 1)] * 2
