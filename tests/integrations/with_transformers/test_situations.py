"""Situations of the Trainer's users, each with its own truth: what a callback measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import transformers

from lrtrack.integrations.transformers import LRTrack

from .trainers import Model


class Measuring(transformers.TrainerCallback):
    """Notes the rate and the norm that each step uses."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.norms: list[float] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Notes them, after clipping."""
        norms = [p.grad.double().norm() for p in kwargs["model"].parameters()]
        self.norms.append(float(torch.stack(norms).norm()))
        self.rates.append(kwargs["optimizer"].param_groups[0]["lr"])


class Stopping(transformers.TrainerCallback):
    """Ends the training after five steps."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ends it."""
        control.should_training_stop = state.global_step >= 5


@dataclass(frozen=True)
class Case:
    """One situation.

    Attributes:
        schedule: the name of the run's schedule.
        steps: how many steps it makes.
        options: arguments of the training.
        callbacks: further callbacks.
    """

    schedule: str = "linear"
    steps: int = 12
    options: dict[str, Any] = field(default_factory=dict)
    callbacks: tuple[Any, ...] = ()


CASES = {
    "linear": Case(),
    "cosine": Case("cosine", options={"lr_scheduler_type": "cosine", "warmup_steps": 3}),
    "polynomial": Case("polynomial", options={"lr_scheduler_type": "polynomial"}),
    "constant": Case("constant", options={"lr_scheduler_type": "constant"}),
    "constant_with_warmup": Case(
        "constant_with_warmup",
        options={"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 3},
    ),
    "inverse_sqrt": Case(
        "inverse_sqrt", options={"lr_scheduler_type": "inverse_sqrt", "warmup_steps": 3}
    ),
    "clipped": Case(options={"max_grad_norm": 0.3}),
    "unclipped": Case(options={"max_grad_norm": 0.0}),
    "bf16": Case(options={"bf16": True}),
    "accumulation": Case(steps=4, options={"gradient_accumulation_steps": 3}),
    "max_steps": Case(steps=17, options={"max_steps": 17}),
    "stopped": Case(steps=5, callbacks=(Stopping(),)),
    "smaller batches": Case(steps=24, options={"per_device_train_batch_size": 8}),
}


@pytest.mark.filterwarnings("ignore:.torch.cpu.amp.autocast:FutureWarning")  # transformers 4
@pytest.mark.parametrize("name", CASES)
def test_what_the_run_holds(digits, trainer, local, steps_of, name: str) -> None:
    """A run holds the rates and norms of each step, the Trainer's losses, and its schedule."""
    case, measuring, task = CASES[name], Measuring(), digits()
    used = trainer(
        [LRTrack(tracker="local"), measuring, *case.callbacks],
        task,
        model=Model(task.model),
        **{
            "learning_rate": 0.05,
            "logging_strategy": "steps",
            "logging_steps": 1,
            "logging_nan_inf_filter": False,
            **case.options,
        },
    )
    used.train()
    (history,) = local()
    steps = steps_of(history)
    logged = [entry["loss"] for entry in used.state.log_history if "loss" in entry]

    assert history.steps.tolist() == list(range(case.steps))
    assert list(steps["lr"].values()) == measuring.rates
    assert list(steps["grad_norm"].values()) == pytest.approx(measuring.norms, rel=1e-5)
    assert list(steps["loss"].values()) == pytest.approx(logged, abs=1e-4)
    assert history.run.schedule.name == case.schedule
    shown = {d["code"] for d in history.run.diagnoses}
    assert not shown & {"LR002", "LR013", "LR030", "LR031"}


@pytest.mark.parametrize("kind", [kind.value for kind in transformers.SchedulerType])
def test_every_schedule_of_the_library(digits, trainer, local, steps_of, kind: str) -> None:
    """The rates of each `lr_scheduler_type` are those that `get_scheduler` gives."""
    settings = {
        "cosine_with_min_lr": {"min_lr": 0.01},
        "cosine_warmup_with_min_lr": {"min_lr": 0.01},
        "warmup_stable_decay": {"num_decay_steps": 4},
    }.get(kind, {})
    warms_up = kind not in ("constant", "reduce_lr_on_plateau", "greedy")
    waits = not warms_up and kind != "constant"
    task = digits()
    trainer(
        [LRTrack(tracker="local")],
        task,
        model=Model(task.model),
        learning_rate=0.05,
        warmup_steps=3 if warms_up else 0,
        lr_scheduler_type=kind,
        lr_scheduler_kwargs=settings,
        eval_strategy="epoch" if waits else "no",
    ).train()
    (history,) = local()
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.05)
    expected = []
    made = transformers.get_scheduler(kind, optimizer, 3, 12, scheduler_specific_kwargs=settings)
    for _ in range(12):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if not waits:  # it would move after the evaluation, which comes last here
            made.step()

    assert list(steps_of(history)["lr"].values()) == expected
    assert len(set(expected)) > 3 or not warms_up
    assert not {d["code"] for d in history.run.diagnoses} & {"LR002", "LR013", "LR030", "LR031"}
