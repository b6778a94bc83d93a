"""Schedules have the names by which transformers' users choose them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR

from lrtrack.integrations.transformers import LRTrack

from .trainers import Model, Trainer


@pytest.mark.parametrize(
    ("kind", "name", "params"),
    [
        ("cosine_with_restarts", "cosine_with_restarts", {"num_cycles": 2}),
        ("linear", "linear", {"num_training_steps": 4}),
        ("constant", "constant", {}),
        ("reduce_lr_on_plateau", "ReduceLROnPlateau", {}),
    ],
)
def test_a_schedule_has_the_name_that_the_user_gave(
    digits, trainer, local, kind: str, name: str, params: dict[str, Any]
) -> None:
    """A schedule that the Trainer makes has its `lr_scheduler_type`, with its settings."""
    task = digits()
    trainer(
        [LRTrack(tracker="local")],
        task,
        model=Model(task.model),
        max_steps=4,
        lr_scheduler_type=kind,
        lr_scheduler_kwargs={"num_cycles": 2} if "restarts" in kind else {},
        eval_strategy="steps" if "plateau" in kind else "no",
        eval_steps=2,
    ).train()
    (history,) = local()

    assert history.run.schedule.name == name
    assert params.items() <= history.run.schedule.params.items()
    assert not [d for d in history.run.diagnoses if d["code"] in ("LR002", "LR031")]


MADE: dict[str, Callable[[Any], Any]] = {
    "constant": transformers.get_constant_schedule,
    "constant_with_warmup": lambda o: transformers.get_constant_schedule_with_warmup(o, 2),
    "linear": lambda o: transformers.get_linear_schedule_with_warmup(o, 2, 4),
    "cosine": lambda o: transformers.get_cosine_schedule_with_warmup(o, 2, 4),
    "cosine_with_restarts": lambda o: (
        transformers.get_cosine_with_hard_restarts_schedule_with_warmup(o, 0, 4, 2)
    ),
    "cosine_with_min_lr": lambda o: transformers.get_scheduler(
        "cosine_with_min_lr", o, 1, 4, {"min_lr_rate": 0.1}
    ),
    "polynomial": lambda o: transformers.get_polynomial_decay_schedule_with_warmup(o, 1, 4),
    "inverse_sqrt": lambda o: transformers.get_inverse_sqrt_schedule(o, 2),
    "warmup_stable_decay": lambda o: transformers.get_wsd_schedule(o, 1, 2, num_stable_steps=1),
    "ExponentialLR": lambda o: ExponentialLR(o, 0.9),
    "LambdaLR": lambda o: LambdaLR(o, lambda at: 0.9**at),
}


@pytest.mark.parametrize("name", MADE)
def test_a_schedule_of_the_users(digits, trainer, local, name: str) -> None:
    """A schedule in `optimizers=` has its name in the library, whatever the arguments say."""
    task = digits()
    task.optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    task.scheduler = MADE[name](task.optimizer)
    trainer([LRTrack(tracker="local")], task, max_steps=4, lr_scheduler_type="cosine").train()

    assert name == local()[0].run.schedule.name


def test_a_schedule_of_a_subclass(digits, trainer, local) -> None:
    """A subclass of the Trainer that makes its own schedule keeps that one's name."""

    class Own(Trainer):
        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, lambda at: 0.9**at)
            self._created_lr_scheduler = True
            return self.lr_scheduler

    task = digits()
    used = trainer([LRTrack(tracker="local")], task, model=Model(task.model), max_steps=4)
    used.__class__ = Own
    used.train()

    assert local()[0].run.schedule.name == "LambdaLR"
