"""What a block refers to is freed when it is over, by its last name and without the collector."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import torch
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau, StepLR

import lrtrack

Made = tuple[Any, Any, list[Optimizer]]
Refs = dict[str, weakref.ref[Any]]


def one(model: torch.nn.Module) -> Made:
    """An optimizer with a scheduler."""
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    return optimizer, StepLR(optimizer, 2), [optimizer]


def with_plateau(model: torch.nn.Module) -> Made:
    """An optimizer whose scheduler takes a metric."""
    optimizer = SGD(model.parameters(), lr=0.1)
    return optimizer, ReduceLROnPlateau(optimizer), [optimizer]


def with_function(model: torch.nn.Module) -> Made:
    """An Adam, which counts its steps, and a scheduler with a function."""
    optimizer = Adam(model.parameters(), lr=0.1)
    return optimizer, LambdaLR(optimizer, lambda step: 1 / (1 + step)), [optimizer]


def several(model: torch.nn.Module) -> Made:
    """Two optimizers, of which the first has a scheduler."""
    first, second = (SGD(layer.parameters(), lr=0.1) for layer in model)  # type: ignore[attr-defined]
    return {"a": first, "b": second}, {"a": StepLR(first, 2), "b": None}, [first, second]


def in_backward(model: torch.nn.Module) -> Made:
    """Optimizers of single parameters, which step in hooks."""
    inner = {p: SGD([p], lr=0.1) for p in model.parameters()}

    def step(p: torch.Tensor, own: weakref.ref[Optimizer]) -> None:
        optimizer = own()
        assert optimizer is not None
        optimizer.step()

    for parameter, own in inner.items():  # weak, as the hooks would be a cycle of the training's
        parameter.register_post_accumulate_grad_hook(partial(step, own=weakref.ref(own)))
    optimizers = list(inner.values())
    return inner, StepLR(optimizers[0], 2), optimizers


def in_groups(model: torch.nn.Module) -> Made:
    """An optimizer with a group whose parameters get no gradient."""
    idle = torch.nn.Parameter(torch.ones(()))
    groups = [{"params": list(model.parameters())}, {"params": [idle], "weight_decay": 0.1}]
    optimizer = SGD(groups, lr=0.1)
    return optimizer, StepLR(optimizer, 2), [optimizer]


def train(make: Callable[[Any], Made], error: bool = False, **options: Any) -> tuple[Refs, Any]:
    """Train a little; returns references to everything, and the run."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 1))
    optimizer, scheduler, steppers = make(model)
    if options.get("norms") == "layer":
        options["model"] = model
    block = lrtrack.track(optimizer, scheduler, **options)
    with suppress(ZeroDivisionError), block as run:
        for _ in range(3):
            model.zero_grad()
            loss = model(torch.ones(2, 4)).sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for each in steppers if make is not in_backward else ():
                each.step()
            for each in scheduler.values() if isinstance(scheduler, dict) else [scheduler]:
                if isinstance(each, ReduceLROnPlateau):
                    each.step(loss.item())
                elif each is not None:
                    each.step()
        if error:
            raise ZeroDivisionError
    schedulers = list(scheduler.values()) if isinstance(scheduler, dict) else [scheduler]
    refs: Refs = {f"optimizer {at}": weakref.ref(each) for at, each in enumerate(steppers)}
    refs["scheduler"] = weakref.ref(schedulers[0])
    refs |= {name: weakref.ref(parameter) for name, parameter in model.named_parameters()}
    return refs, run


def alive(refs: Refs) -> list[str]:
    """The names of what still exists."""
    return [name for name, ref in refs.items() if ref() is not None]


@pytest.fixture(autouse=True)
def without_collector(clean_place: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs stay in the journal, and only references free objects."""
    monkeypatch.setenv("LRTRACK_TRACKER", "local")
    SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1).step()  # the first one leaves frames behind
    gc.collect()
    gc.disable()
    yield
    gc.enable()


FORMS = [one, with_plateau, with_function, several, in_backward, in_groups]


@pytest.mark.parametrize("make", FORMS, ids=lambda make: make.__name__)
@pytest.mark.filterwarnings("ignore:LR0")
def test_a_kept_run_keeps_nothing_of_the_training(make) -> None:
    """Parameters, optimizers and schedulers are freed after the block although the run is kept."""
    refs, run = train(make)

    assert alive(refs) == []
    assert run.step == 2
    assert run.summary()["lr"] > 0


@pytest.mark.parametrize(
    "options",
    [
        {"norms": "layer"}, {"norms": "group"}, {"norms": "off"}, {"every": 2},
        {"updates": 1}, {"updates": 2, "norms": "layer"},
        {"capture_loss": False}, {"config": {"depth": 3}, "tags": {"kind": "small"}, "seed": 1},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:LR0")
def test_no_option_keeps_the_training_alive(options) -> None:
    """The same holds for each option of the block."""
    for make in (one, several):
        refs, run = train(make, **options)
        assert alive(refs) == []
        assert run.step == 2


@pytest.mark.parametrize("make", [one, several], ids=lambda make: make.__name__)
@pytest.mark.filterwarnings("ignore:LR0")
def test_an_exception_keeps_nothing_alive(make) -> None:
    """The same holds for a block that an exception has ended, once that is handled."""
    refs, run = train(make, error=True)

    assert alive(refs) == []
    assert run.step == 2


@pytest.mark.filterwarnings("ignore:LR0")
def test_a_run_still_answers_when_the_training_is_gone() -> None:
    """Everything that a run offers after its block works without the optimizer."""
    _, run = train(with_function)

    assert run.state_dict()["step"] == 2
    run.log(accuracy=0.5)
    run.flush()
    assert run.loss() == run.summary()["loss_final"]
