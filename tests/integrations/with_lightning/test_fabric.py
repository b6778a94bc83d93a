"""Fabric's loops in a block of `track()`, each with its own truth: what the loop measured."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from torch.optim.lr_scheduler import ExponentialLR, StepLR

import lrtrack
from lrtrack.records import State

from .modules import NOISE

pytestmark = NOISE


@dataclass(frozen=True)
class Case:
    """One situation.

    Attributes:
        steps: how many steps it makes of twelve batches.
        options: arguments of Fabric.
        clip: arguments of `clip_gradients`.
        accumulate: how many batches a step has.
        schedule: makes the scheduler.
        outer: whether the scheduler is made of the optimizer that `setup` returned.
    """

    steps: int = 12
    options: dict[str, Any] = field(default_factory=dict)
    clip: dict[str, float] = field(default_factory=dict)
    accumulate: int = 1
    schedule: Callable[[Any], Any] = lambda optimizer: ExponentialLR(optimizer, 0.9)
    outer: bool = False


CASES = {
    "each step": Case(),
    "a scheduler of the wrapped optimizer": Case(outer=True),
    "another schedule": Case(schedule=lambda o: StepLR(o, 5)),
    "clipped by norm": Case(clip={"max_norm": 0.3}),
    "clipped by value": Case(clip={"clip_val": 0.01}),
    "bf16-mixed": Case(options={"precision": "bf16-mixed"}),
    "bf16-mixed, clipped": Case(options={"precision": "bf16-mixed"}, clip={"max_norm": 0.3}),
    "bf16-true": Case(options={"precision": "bf16-true"}),
    "accumulation": Case(4, accumulate=3),
    "accumulation, clipped": Case(4, accumulate=3, clip={"max_norm": 0.3}),
}


class Loop:
    """A loop of Fabric's that notes the rate, the norm and the loss of each step."""

    def __init__(self, task: Any, case: Case = Case()) -> None:
        self.task, self.case = task, case
        self.fabric = Fabric(accelerator="cpu", devices=1, **case.options)
        scheduler = None if case.outer else case.schedule(task.optimizer)
        self.model, self.optimizer = self.fabric.setup(task.model, task.optimizer)
        self.scheduler = scheduler or case.schedule(self.optimizer)
        self.truth: dict[str, list[float]] = {"lr": [], "grad_norm": [], "loss": []}

    def train(self, begin: int = 0, each: Callable[[int], None] | None = None) -> None:
        """Goes through the batches from a number on; `each` is called at the end of a step."""
        losses: list[float] = []
        batches = self.fabric.setup_dataloaders(self.task.loader())
        for number, (inputs, labels) in enumerate(batches):
            if number < begin:
                continue
            last = (number + 1) % self.case.accumulate == 0
            waiting = self.fabric.no_backward_sync(self.model, enabled=not last)
            with waiting if self.case.accumulate > 1 else nullcontext():
                loss = torch.nn.functional.cross_entropy(self.model(inputs), labels)
                losses.append(loss.item())
                self.fabric.backward(loss / self.case.accumulate)
            if last:
                self.step(losses)
                losses = []
                if each is not None:
                    each(number)

    def step(self, losses: list[float]) -> None:
        """Makes a step, and notes what it uses, after clipping."""
        if self.case.clip:
            self.fabric.clip_gradients(self.model, self.optimizer, **self.case.clip)
        norms = [p.grad.double().norm() for p in self.model.parameters()]
        self.truth["grad_norm"].append(float(torch.stack(norms).norm()))
        self.truth["lr"].append(self.optimizer.param_groups[0]["lr"])
        self.truth["loss"].append(sum(losses) / len(losses))
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()


@pytest.mark.parametrize("name", CASES)
def test_what_the_run_holds(digits, local, steps_of, name: str) -> None:
    """A run holds the rates, norms and losses that the loop measured, without a diagnosis."""
    case = CASES[name]
    loop = Loop(digits(), case)
    half = case.options.get("precision") == "bf16-true"
    with lrtrack.track(loop.optimizer, loop.scheduler, tracker="local"):
        loop.train()
    (history,) = local()
    steps = steps_of(history)

    assert history.steps.tolist() == list(range(case.steps))
    assert list(steps["lr"].values()) == loop.truth["lr"]
    # The sum of rounded thirds is not exactly the mean.
    assert list(steps["loss"].values()) == pytest.approx(loop.truth["loss"], rel=1e-6)
    tolerance = 2e-2 if half else 1e-5
    assert list(steps["grad_norm"].values()) == pytest.approx(loop.truth["grad_norm"], tolerance)
    assert history.run.schedule.name == type(loop.scheduler).__name__
    assert ("grad_norm_preclip" in history.metrics) == ("max_norm" in case.clip)
    assert (history.state, history.run.diagnoses) == (State.FINISHED, ())


@pytest.mark.parametrize("stored", [True, False])
def test_a_checkpoint(digits, local, steps_of, stored: bool) -> None:
    """A training goes on in its run if a checkpoint has that in its state, else in a new one."""
    first = Loop(digits())
    with lrtrack.track(first.optimizer, first.scheduler, tracker="local") as run:
        state = {"model": first.model, "optimizer": first.optimizer, "scheduler": first.scheduler}

        def save(number: int) -> None:
            if number == 5:
                first.fabric.save("saved.ckpt", {**state, **({"run": run} if stored else {})})

        first.train(each=save)
    second = Loop(digits())
    loaded = second.fabric.load(
        "saved.ckpt",
        {"model": second.model, "optimizer": second.optimizer, "scheduler": second.scheduler},
    )
    resume = loaded["run"]["id"] if stored else None
    with lrtrack.track(
        second.optimizer, second.scheduler, tracker="local", resume=resume
    ) as continued:
        if stored:
            continued.load_state_dict(loaded["run"])
        second.train(begin=6)
    histories = local()
    steps = steps_of(histories[0])
    kept = 6 if stored else 0

    assert Path("saved.ckpt").is_file()
    assert len(histories) == (1 if stored else 2)
    assert histories[0].steps.tolist() == list(range(kept + 6))
    assert first.truth["lr"][6:] == second.truth["lr"]
    for name in ("lr", "loss", "grad_norm"):
        expected = first.truth[name][:kept] + second.truth[name]
        assert list(steps[name].values()) == pytest.approx(expected, rel=1e-5)
    assert not {d["code"] for d in histories[0].run.diagnoses} & {"LR013", "LR030", "LR031"}
