"""LR013: blocks that end without a step, and optimizers of several that never step."""

from __future__ import annotations

import sys
import warnings
from types import ModuleType

import pytest
import torch
from fixtures.isolation import PATIENCE, within
from torch.optim.lr_scheduler import StepLR

NEVER = "no step of the SGD was seen, nor one of any other optimizer, "


def test_another_optimizer_steps(training, track, messages) -> None:
    """If another optimizer steps instead, the message names its class and its steps."""
    task = training()
    other = torch.optim.Adam(task.model.parameters())
    with track(task.optimizer):
        for _ in range(3):
            task.backward()
            other.step()

    assert messages() == {
        "LR013": "no step of the SGD was seen, but 1 other optimizer (Adam) made 3 steps."
    }


def test_optimizers_step_inside_backward(training, track, messages) -> None:
    """If an optimizer for each of some parameters steps in a backward hook, the message says so."""
    task = training()
    inner = {p: torch.optim.SGD([p], lr=0.01) for p in task.model.parameters()}
    nodes = [(p.expand_as(p).grad_fn.next_functions[0][0], p) for p in inner]
    for node, parameter in nodes:
        node.register_hook(lambda *_, p=parameter: inner[p].step())
    task.optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
    with track(task.optimizer):
        task.backward()

    assert messages() == {
        "LR013": "no step of the SGD was seen, but 2 other optimizers (SGD) made 2 steps inside "
        "backward()."
    }


@pytest.mark.parametrize("rebuild", ["b", "a"])
def test_one_of_several_optimizers_that_is_replaced(training, track, messages, rebuild) -> None:
    """The diagnosis names the optimizer whose parameters another one trains from some step on."""
    task = training()
    parts = dict(zip("ab", task.model.parameters(), strict=True))
    both = {name: torch.optim.SGD([p], lr=0.01) for name, p in parts.items()}
    with track(dict(both)):
        for step in range(40):
            task.backward()
            if step == 5:
                both[rebuild] = torch.optim.Adam([parts[rebuild]])
            for optimizer in both.values():
                optimizer.step()

    assert messages() == {
        "LR013": f"{rebuild}: after 5 steps, no more steps of this optimizer were seen: 1 other "
        "optimizer (Adam) steps instead."
    }


def test_one_of_several_optimizers_that_rests(training, track, messages) -> None:
    """An optimizer that stops, or steps again after a rest, is not taken for a replaced one."""
    task = training()
    frozen, other = (torch.optim.SGD([p], lr=0.01) for p in task.model.parameters())
    extra = torch.optim.Adam(task.model.parameters())
    with track({"frozen": frozen, "rests": other, "goes on": task.optimizer}):
        for step in range(60):
            task.step()
            if step < 5:
                frozen.step()
            if step < 10 or step > 50:
                other.step()
        assert extra.param_groups

    assert messages() == {}


def test_nothing_steps(training, track, messages) -> None:
    """Weights that are changed by hand show no steps, only backward calls."""
    task = training()
    with track(task.optimizer) as run:
        for _ in range(5):
            task.backward()
            run.log(lr=0.1)

    assert messages() == {"LR013": NEVER + "only 5 backward() calls."}


def test_a_loop_without_backward_shows_scheduler_steps(training, track, messages) -> None:
    """A loop that only computes losses and moves the schedule is reported as that."""
    task = training()
    scheduler = StepLR(task.optimizer, 2)
    with warnings.catch_warnings(), track(task.optimizer, scheduler):
        warnings.simplefilter("ignore", UserWarning)  # of torch, about the order
        for _ in range(3):
            scheduler.step()

    assert messages() == {"LR013": NEVER + "nor any backward() call, only 3 scheduler steps."}


@pytest.mark.parametrize("rebuild", [True, False], ids=["same parameters", "a new model"])
def test_an_optimizer_that_replaces_the_tracked_one(training, track, messages, rebuild) -> None:
    """A training that goes on with another optimizer is reported, with how long it went on."""
    task, other = training(), training()
    with track(task.optimizer):
        task.run(5)
        if rebuild:
            task.optimizer = torch.optim.Adam(task.model.parameters())
            task.run(15)
        else:
            other.run(15)

    name = "Adam" if rebuild else "SGD"
    assert messages() == {
        "LR013": "after 5 steps, no more steps of the SGD were seen, although 15 backward() calls "
        f"followed: 1 other optimizer ({name}) steps instead."
    }


def test_several_optimizers_that_are_replaced(training, track, messages) -> None:
    """The same is reported of several optimizers."""
    task = training()
    both = [torch.optim.SGD([p], lr=0.01) for p in task.model.parameters()]
    with track({"a": both[0], "b": both[1]}):
        for _ in range(5):
            task.backward()
            both[0].step()
            both[1].step()
        task.optimizer = torch.optim.Adam(task.model.parameters())
        task.run(15)

    assert messages() == {
        "LR013": "after 5 steps, no more steps of the SGD were seen, although 15 backward() calls "
        "followed: 1 other optimizer (Adam) steps instead."
    }


def test_training_that_goes_on_by_hand_is_reported(training, track, messages) -> None:
    """A schedule that goes on after the last step is a training, also without an optimizer."""
    task = training()
    scheduler = StepLR(task.optimizer, 100)
    with track(task.optimizer, scheduler):
        task.run(5, lambda step: scheduler.step())
        for _ in range(15):
            task.backward()
            scheduler.step()

    assert messages()["LR013"] == (
        "after 5 steps, no more steps of the SGD were seen, although 15 backward() calls followed."
    )


def test_usual_backward_calls_after_the_last_step_are_not_reported(
    training, track, messages
) -> None:
    """A last accumulation that stays incomplete, or a short evaluation, is no diagnosis."""
    task, other = training(), training()
    with track(task.optimizer):
        for _ in range(2):
            for _ in range(8):
                task.backward()
            task.optimizer.step()
            other.run(20)
            task.step()
        for _ in range(100):
            task.backward()

    assert messages() == {}


def test_the_step_is_compiled(training, track, messages) -> None:
    """A step that torch.compile has compiled is named as the reason."""
    task = training()
    torch._dynamo.reset()
    step = torch.compile(lambda: task.optimizer.step(), backend="eager")
    with warnings.catch_warnings(), track(task.optimizer):
        warnings.simplefilter("ignore")  # of torch's own compiler
        for _ in range(2):
            task.backward()
            step()
    torch._dynamo.reset()

    assert messages() == {
        "LR013": "no step of the SGD was seen: torch.compile compiled its step, and compiled steps "
        "call no hooks."
    }


def test_a_compiled_step_is_reported_while_it_happens(training, track) -> None:
    """The warning comes while the training runs, and only once."""
    task = training()
    torch._dynamo.reset()
    step = torch.compile(lambda: task.optimizer.step(), backend="eager")

    def reported() -> bool:
        task.backward()
        step()
        return any(
            "LR013 in run constant: no step of the SGD was seen: torch.compile" in str(w.message)
            for w in told
        )

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with track(task.optimizer):
            within(PATIENCE, reported)
            before = len(told)
            step()
    torch._dynamo.reset()

    assert told[before:] == []


def test_an_engine_may_step(training, track, messages, monkeypatch) -> None:
    """Where an engine is imported, it is named as the probable reason."""
    monkeypatch.setitem(sys.modules, "deepspeed", ModuleType("deepspeed"))
    with track(training().optimizer):
        pass

    assert messages() == {
        "LR013": "no step of the SGD was seen: an engine of deepspeed probably steps instead."
    }


def test_an_own_step_is_enough(training, track, messages) -> None:
    """A block with a single step of its own has no such diagnosis."""
    task = training()
    other = torch.optim.Adam(task.model.parameters())
    with track(task.optimizer):
        task.step()
        other.step()

    assert messages() == {}


def test_a_block_that_raises_is_not_diagnosed(training, track, histories) -> None:
    """An exception before the first step is reason enough."""
    with pytest.raises(ZeroDivisionError), track(training().optimizer):
        raise ZeroDivisionError

    assert [history.run.diagnoses for history in histories()] == [()]


def test_diagnoses_name_the_optimizer(track, messages) -> None:
    """Of several optimizers, a diagnosis of a scheduler or of a missing step names the one."""
    weights = [torch.nn.Parameter(torch.ones(())) for _ in range(3)]
    both = {f"net{at}": torch.optim.SGD([w], lr=0.1) for at, w in enumerate(weights)}
    schedulers = {name: StepLR(both[name], 2) for name in both}
    with track(both, schedulers):
        for _ in range(6):
            (weights[0] + weights[1]).backward()
            both["net0"].step()
            both["net1"].step()
            schedulers["net0"].step()

    assert messages() == {
        "LR001": "net1: StepLR was never stepped: the learning rate stayed at 0.1 for all 6 "
        "optimizer steps.",
        "LR013": "net2: no step of this optimizer was seen, although the others made steps.",
    }


def test_a_loss_that_another_block_has_is_not_missing(training, track, histories) -> None:
    """If two blocks share each backward pass, the second one's missing loss is no diagnosis."""
    task = training()
    first, second = (torch.optim.SGD([p], lr=0.1) for p in task.model.parameters())
    with track(first, prefix="a/"), track(second, prefix="b/"):
        for _ in range(6):
            task.backward()
            first.step()
            second.step()

    assert [history.run.diagnoses for history in histories()] == [(), ()]
