"""Engines that step their optimizer themselves are recorded by their own figures."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from fixtures.engine import Engine

import lrtrack
from lrtrack.capture.ensemble import ensemble_of
from lrtrack.capture.optimizers import is_engine
from lrtrack.errors import LRTrackWarning, UsageError
from lrtrack.records import History


def model() -> torch.nn.Module:
    """A model of one weight and one bias, always the same."""
    torch.manual_seed(0)
    return torch.nn.Linear(1, 1)


def loss_of(trained: torch.nn.Module, target: float) -> torch.Tensor:
    """The squared error at 1."""
    return (trained(torch.ones(1)) - target).square().sum()


def test_a_step_of_several_micro_batches(local: Callable[[], list[History]]) -> None:
    """A step has the rate before the engine moves it, both norms, and the mean of the losses."""
    trained = model()
    engine = Engine(trained, batches=2, limit=1.0, scale=8.0)
    losses, norms, rates = [], [], []
    with lrtrack.track(engine, tracker="local") as run:
        assert run.step == -1
        for step in range(4):
            rates.append(engine.get_lr()[0])
            for micro in range(2):
                loss = loss_of(trained, 2.0 + micro)
                engine.backward(loss)
                losses.append(float(loss.detach()))
                engine.step()
                assert run.step == step - 1 + micro
            norms.append(engine.get_global_grad_norm())
        run.log(val=1.0)

    (history,) = local()
    assert list(history.steps) == [0, 1, 2, 3]
    assert rates == [0.5, 0.5, 0.25, 0.25] == list(history.metrics["lr"])
    assert rates == list(history.metrics["lr/0"]) == list(history.metrics["lr/1"])
    means = [sum(losses[at : at + 2]) / 2 for at in range(0, 8, 2)]
    assert means == pytest.approx(list(history.metrics["loss"]))
    assert norms == list(history.metrics["grad_norm_preclip"])
    after = [norm * min(1.0, 1.0 / (norm + 1e-6)) for norm in norms]
    assert after == pytest.approx(list(history.metrics["grad_norm"]))
    assert history.run.schedule.label == "StepLR(gamma=0.5, step_size=2)"
    assert (history.run.optimizer["name"], history.run.diagnoses) == ("SGD", ())


def test_skipped_steps_are_not_recorded(local: Callable[[], list[History]]) -> None:
    """A step that overflows leaves no record, and its loss counts in none."""
    trained = model()
    engine = Engine(trained)
    with lrtrack.track(engine, tracker="local") as run:
        for target in (2.0, math.inf, 3.0):
            engine.backward(loss_of(trained, target))
            engine.step()
        assert run.step == 1

    (history,) = local()
    assert (engine.global_steps, list(history.steps)) == (3, [0, 1])
    assert all(math.isfinite(loss) for loss in history.metrics["loss"])


@pytest.mark.parametrize("form", ["keyword", "position", "direct"])
def test_losses_that_the_engine_does_not_divide(
    form: str, local: Callable[[], list[History]]
) -> None:
    """Without `scale_wrt_gas` losses add up; a loss with its own `backward()` counts, too."""
    trained = model()
    engine = Engine(trained, batches=2)
    losses = []
    with lrtrack.track(engine, tracker="local"):
        for target in (2.0, 3.0):
            loss = loss_of(trained, target)
            losses.append(float(loss.detach()))
            if form == "keyword":
                engine.backward(loss, scale_wrt_gas=False)
            elif form == "position":
                engine.backward(loss, False, False)
            else:
                loss.backward()
            engine.step()

    total = sum(losses) / (2 if form == "direct" else 1)
    assert [total] == pytest.approx(list(local()[0].metrics["loss"]))


def test_an_optimizer_without_a_wrapper(local: Callable[[], list[History]]) -> None:
    """Where the engine calls torch's own optimizer and knows no norm, the gradients give it."""
    trained = model()
    engine = Engine(trained, plain=True, limit=0.5)
    with lrtrack.track(engine, tracker="local"):
        for target in (2.0, 3.0):
            engine.backward(loss_of(trained, target))
            engine.step()

    (history,) = local()
    norms = [0.5, 0.5]
    assert norms == pytest.approx(list(history.metrics["grad_norm"]), rel=1e-5)
    assert list(history.steps) == [0, 1]


def test_the_options(local: Callable[[], list[History]]) -> None:
    """`every`, `norms`, `capture_loss`, `prefix` and checkpoints work as with optimizers."""
    trained = model()
    engine = Engine(trained)

    def train(steps: int) -> None:
        for _ in range(steps):
            engine.backward(loss_of(trained, 2.0))
            engine.step()

    options: dict[str, Any] = {"every": 2, "norms": "off", "capture_loss": False, "prefix": "e/"}
    with lrtrack.track(engine, tracker="local", **options) as run:
        train(2)
        state = run.state_dict()
        train(3)
        run.load_state_dict(state)
        train(1)

    (history,) = local()
    assert (list(history.steps), sorted(history.metrics)) == ([0, 2], ["e/lr", "e/lr/0", "e/lr/1"])


def test_training_is_unchanged_and_the_methods_are_restored() -> None:
    """The weights are bit for bit the same, and the class has its own methods again."""
    methods = {name: getattr(Engine, name) for name in ("step", "backward")}
    weights = []
    for tracked in (False, True):
        trained = model()
        engine = Engine(trained, batches=2, limit=1.0)
        run = lrtrack.start(engine, tracker="local") if tracked else None
        for step in range(6):
            engine.backward(loss_of(trained, float(step)))
            engine.step()
        if run is not None:
            run.end()
        weights.append([p.detach().clone() for p in trained.parameters()])

    assert all(map(torch.equal, *weights))
    assert methods == {name: getattr(Engine, name) for name in methods}


def test_a_step_that_raises_is_not_recorded(local: Callable[[], list[History]]) -> None:
    """An exception of the engine goes on unchanged, and the next step is recorded."""
    trained = model()
    engine = Engine(trained)
    with lrtrack.track(engine, tracker="local"):
        with pytest.raises(AssertionError):
            engine.step()  # no gradients yet
        engine.backward(loss_of(trained, 2.0))
        engine.step()

    assert list(local()[0].steps) == [0]


def test_nothing_is_kept_alive() -> None:
    """A run that is over keeps neither the engine nor its parameters."""
    trained = model()
    engine = Engine(trained)
    run = lrtrack.start(engine, tracker="local")
    engine.backward(loss_of(trained, 2.0))
    engine.step()
    run.end()
    gone = [weakref.ref(engine), weakref.ref(trained.weight)]
    gc.collect()
    gc.disable()
    try:
        del engine, trained
        assert [reference() for reference in gone] == [None, None]
    finally:
        gc.enable()


def test_an_engine_that_never_steps(local: Callable[[], list[History]]) -> None:
    """A block without a step of the engine is reported with the engine's class."""
    with (
        pytest.warns(LRTrackWarning, match="no step of the Engine was seen"),
        lrtrack.track(Engine(model()), tracker="local"),
    ):
        pass

    assert [diagnosis["code"] for diagnosis in local()[0].run.diagnoses or ()] == ["LR013"]


def test_record_beside_an_engine(local: Callable[[], list[History]]) -> None:
    """`run.record()` would count the engine's steps twice; one warning says so."""
    trained = model()
    engine = Engine(trained)
    with lrtrack.track(engine, tracker="local") as run:
        engine.backward(loss_of(trained, 2.0))
        engine.step()
        with pytest.warns(LRTrackWarning, match="sees the steps"):
            run.record(lr=9.0)

    assert list(local()[0].metrics["lr"]) == [0.5]


def test_what_is_an_engine() -> None:
    """An engine has the methods and counts its steps; it cannot share a round with others."""
    engine = Engine(model())
    other = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)

    assert [is_engine(value) for value in (engine, Engine, other, None)] == [True, *[False] * 3]
    with pytest.raises(UsageError, match="Engine steps on its own"):
        ensemble_of([engine, other])
    engine.global_steps = None  # type: ignore[assignment]
    assert not is_engine(engine)
