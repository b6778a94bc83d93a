"""Situations of accelerate's users, each with its own truth: what the loop itself measured."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from accelerate import DataLoaderConfiguration
from accelerate.local_sgd import LocalSGD
from accelerate.utils import GradientAccumulationPlugin
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR, ReduceLROnPlateau, StepLR

import lrtrack
from lrtrack.integrations.accelerate import LRTrack

#: Codes that would be false in each of these trainings.
FALSE = {"LR001", "LR002", "LR013", "LR015", "LR030", "LR031"}


@dataclass
class Truth:
    """What each step of a loop used.

    Attributes:
        losses: the means over the batches of each step.
        sums: the sums of what `backward` was called on.
        pending: losses of the batches since the last step.
        divisor: by what each of them is divided.
    """

    rates: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    sums: list[float] = field(default_factory=list)
    pending: list[float] = field(default_factory=list)
    divisor: int = 1

    def note(self, task: Any) -> None:
        """Notes what the step that comes next will use; norms are computed in double precision."""
        norms = [p.grad.double().norm() for p in task.model.parameters()]
        self.norms.append(float(torch.stack(norms).norm()))
        self.rates.append(task.optimizer.param_groups[0]["lr"])
        self.losses.append(sum(self.pending) / len(self.pending))
        self.sums.append(sum(self.pending) / self.divisor)
        self.pending = []

    def matches(self, history: Any, steps: dict[str, dict[int, float]], loss: list[float]) -> None:
        """Asserts that a run holds what was measured, and this loss."""
        assert history.steps.tolist() == list(range(len(self.rates)))
        assert list(steps["lr"].values()) == self.rates
        assert list(steps["loss"].values()) == pytest.approx(loss, rel=1e-6)
        assert list(steps["grad_norm"].values()) == pytest.approx(self.norms, rel=1e-5)
        assert not {d["code"] for d in history.run.diagnoses} & FALSE


@dataclass(frozen=True)
class Case:
    """One situation.

    Attributes:
        steps: how many steps it makes.
        schedule: makes the scheduler.
        name: the name of the run's schedule.
        options: arguments of the Accelerator.
        clip: the name of the Accelerator's method, and the limit.
        epochs: how often the twelve batches are gone through.
        prepared: whether the scheduler goes through `prepare`.
        stop_after: the number of the batch after which the loop ends; -1: none.
        skip: how many batches are left out at the start.
        local: whether the training is LocalSGD's.
        autocast: whether the loss is computed in the Accelerator's context.
        by_hand: whether the loop accumulates two batches with `no_sync`.
    """

    steps: int = 12
    schedule: Callable[[Any], Any] = lambda optimizer: ExponentialLR(optimizer, 0.9)
    name: str = "ExponentialLR"
    options: dict[str, Any] = field(default_factory=dict)
    clip: tuple[str, float] | None = None
    epochs: int = 1
    prepared: bool = True
    stop_after: int = -1
    skip: int = 0
    local: bool = False
    autocast: bool = False
    by_hand: bool = False


def plugin(**options: Any) -> dict[str, Any]:
    """Accumulation over five batches, by a plugin."""
    return {"gradient_accumulation_plugin": GradientAccumulationPlugin(num_steps=5, **options)}


def split() -> dict[str, Any]:
    """A loader whose batches are split, instead of multiplied, over the processes."""
    return {"dataloader_config": DataLoaderConfiguration(split_batches=True)}


CASES = {
    "each step": Case(),
    "each epoch": Case(24, lambda o: StepLR(o, 12), "StepLR", epochs=2),
    "a function": Case(schedule=lambda o: LambdaLR(o, lambda at: 0.9**at), name="LambdaLR"),
    "plateau": Case(
        schedule=lambda o: ReduceLROnPlateau(o, patience=0, threshold=10.0),
        name="ReduceLROnPlateau",
    ),
    "not prepared": Case(prepared=False),
    "on its own": Case(options={"step_scheduler_with_optimizer": False}),
    "bf16": Case(options={"mixed_precision": "bf16"}),
    "bf16, in a context": Case(options={"mixed_precision": "bf16"}, autocast=True),
    "bf16, clipped": Case(options={"mixed_precision": "bf16"}, clip=("clip_grad_norm_", 0.3)),
    "clipped by norm": Case(clip=("clip_grad_norm_", 0.3)),
    "clipped by value": Case(clip=("clip_grad_value_", 0.01)),
    "accumulation": Case(3, options={"gradient_accumulation_steps": 4}),
    "accumulation, clipped": Case(
        3, options={"gradient_accumulation_steps": 4}, clip=("clip_grad_norm_", 0.3)
    ),
    "an incomplete group": Case(6, options={"gradient_accumulation_steps": 5}, epochs=2),
    "a plugin": Case(6, options=plugin(), epochs=2),
    "a plugin, over epochs": Case(4, options=plugin(sync_with_dataloader=False), epochs=2),
    "a plugin for each batch": Case(options=plugin(sync_each_batch=True), steps=3),
    "accumulation by hand": Case(6, by_hand=True),
    "LocalSGD": Case(local=True),
    "split batches": Case(options=split()),
    "early stopping": Case(5, stop_after=4),
    "skipped batches": Case(7, skip=5),
}  # fmt: skip


def train(accelerated: Any, task: Any, case: Case, each: Callable[[], None]) -> Truth:
    """accelerate's loop in the way of the case; `each` is called at the end of a batch."""
    truth = Truth(divisor=2 if case.by_hand else accelerated.gradient_accumulation_steps)
    data = task.prepared
    if case.skip:
        data = accelerated.skip_first_batches(data, case.skip)
    for _ in range(case.epochs):
        for number, (inputs, labels) in enumerate(data):
            last = not case.by_hand or number % 2 == 1
            with ExitStack() as stack:
                if case.by_hand and not last:
                    stack.enter_context(accelerated.no_sync(task.model))
                stack.enter_context(accelerated.accumulate(task.model))
                if case.autocast:
                    stack.enter_context(accelerated.autocast())
                loss = task.loss(inputs, labels)
                truth.pending.append(loss.item())
                accelerated.backward(loss / truth.divisor if case.by_hand else loss)
                if last:
                    step(accelerated, task, case, truth)
            each()
            if number == case.stop_after:
                accelerated.set_trigger()
            if accelerated.check_trigger():
                return truth
    return truth


def step(accelerated: Any, task: Any, case: Case, truth: Truth) -> None:
    """The calls that follow a `backward`, of which accelerate drops those within a group."""
    if accelerated.sync_gradients:
        if case.clip is not None:
            method, limit = case.clip
            getattr(accelerated, method)(task.model.parameters(), limit)
        truth.note(task)
    task.optimizer.step()
    if case.name == "ReduceLROnPlateau":
        task.scheduler.step(truth.losses[-1])
    elif accelerated.sync_gradients or case.prepared:
        task.scheduler.step()
    task.optimizer.zero_grad()


@pytest.mark.parametrize("way", ["log_with", "track"])
@pytest.mark.parametrize("name", CASES)
def test_what_the_run_holds(digits, accelerator, local, steps_of, name: str, way: str) -> None:
    """A run holds the rates, norms and losses that the loop measured, and no false diagnosis.

    In a block, the loss of an incomplete group is the sum that accelerate has computed.
    """
    case = CASES[name]
    task = digits()
    task.scheduler = case.schedule(task.optimizer)
    tracker = LRTrack(task.optimizer, task.scheduler, tracker="local")
    accelerated = accelerator(**case.options, log_with=tracker if way == "log_with" else None)
    task.prepared = accelerated.prepare(task.loader())
    task.model, task.optimizer = accelerated.prepare(task.model, task.optimizer)
    if case.prepared:
        task.scheduler = accelerated.prepare(task.scheduler)
    with ExitStack() as stack:
        if way == "log_with":
            accelerated.init_trackers("digits")
            stack.callback(accelerated.end_training)
        else:
            stack.enter_context(lrtrack.track(task.optimizer, task.scheduler, tracker="local"))
        averaging = LocalSGD(accelerated, task.model, local_sgd_steps=4, enabled=case.local)
        truth = train(accelerated, task, case, stack.enter_context(averaging).step)
    (history,) = local()

    assert len(truth.rates) == case.steps
    assert history.run.schedule.name == case.name
    truth.matches(history, steps_of(history), truth.losses if way == "log_with" else truth.sums)


def test_several_models_and_optimizers(digits, accelerator, local, steps_of) -> None:
    """Two models that are trained in turn have a run each, with the rates and norms of its own."""
    tasks = [digits(), digits()]
    tasks[1].optimizer = torch.optim.SGD(tasks[1].model.parameters(), lr=0.05)
    accelerated = accelerator(log_with=LRTrack(tracker="local"))
    for task, make in zip(
        tasks, (lambda o: StepLR(o, 3), lambda o: ExponentialLR(o, 0.8)), strict=True
    ):
        task.scheduler = make(task.optimizer)
        task.model, task.optimizer, task.scheduler = accelerated.prepare(
            task.model, task.optimizer, task.scheduler
        )
    accelerated.init_trackers("digits")
    truths = [Truth(), Truth()]
    for number, (inputs, labels) in enumerate(accelerated.prepare(tasks[0].loader())):
        for task, truth in zip(tasks[: 1 + number % 2], truths, strict=False):
            loss = task.loss(inputs, labels)
            truth.pending.append(loss.item())
            accelerated.backward(loss)
            step(accelerated, task, Case(), truth)
    accelerated.end_training()
    histories = {h.run.schedule.name: h for h in local()}

    assert [len(truth.rates) for truth in truths] == [12, 6]
    for name, prefix, truth in zip(
        ("StepLR", "ExponentialLR"), ("SGD/", "SGD-1/"), truths, strict=True
    ):
        steps = {
            metric.removeprefix(prefix): values
            for metric, values in steps_of(histories[name]).items()
        }
        truth.matches(histories[name], steps, truth.losses)
