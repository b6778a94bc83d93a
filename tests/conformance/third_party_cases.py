"""Third-party schedulers, optimizers and wrappers, used as their documentation shows."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.optim import SGD, AdamW

from .cases import STEPS, TABLE_TRACKERS, add, case
from .tasks import Task
from .truth import Truth

#: transformers' names of schedules, each with `get_scheduler`'s arguments.
WARM = {"num_warmup_steps": 2}
LONG = {**WARM, "num_training_steps": STEPS}
TRANSFORMERS: dict[str, dict[str, Any]] = {
    "linear": LONG,
    "cosine": LONG,
    "cosine_with_restarts": {**LONG, "scheduler_specific_kwargs": {"num_cycles": 2}},
    "polynomial": {**LONG, "scheduler_specific_kwargs": {"power": 2.0}},
    "constant": {},
    "constant_with_warmup": WARM,
    "inverse_sqrt": WARM,
    "cosine_with_min_lr": {**LONG, "scheduler_specific_kwargs": {"min_lr": 0.01}},
    "cosine_warmup_with_min_lr": {**LONG, "scheduler_specific_kwargs": {"min_lr": 0.01}},
    "warmup_stable_decay": {**LONG, "scheduler_specific_kwargs": {"num_decay_steps": 2}},
    "reduce_lr_on_plateau": {"scheduler_specific_kwargs": {"patience": 0, "threshold": 0.5}},
    "greedy": {"scheduler_specific_kwargs": {"patience": 0}},
}
#: timm's schedulers, counted in epochs or in updates.
TIMM: dict[str, dict[str, Any]] = {
    "CosineLRScheduler": {"t_initial": STEPS, "warmup_t": 2, "warmup_lr_init": 0.01},
    "MultiStepLRScheduler": {"decay_t": [1, 3], "decay_rate": 0.5},
    "PolyLRScheduler": {"t_initial": STEPS, "power": 2.0},
    "StepLRScheduler": {"decay_t": 2, "decay_rate": 0.5},
    "TanhLRScheduler": {"t_initial": STEPS, "noise_range_t": 1},
    "WSDLRScheduler": {"t_initial": STEPS, "decay_t": 2},
}


def transformers_schedule(name: str, optimizer: torch.optim.Optimizer, **changed: Any) -> Any:
    """A transformers scheduler; only the optimization module is imported."""
    get_scheduler = importlib.import_module("transformers.optimization").get_scheduler
    return get_scheduler(name, optimizer, **{**TRANSFORMERS[name], **changed})


@contextmanager
def timm_schedulers() -> Iterator[Any]:
    """The real package `timm.scheduler`.

    `import timm` needs torchvision, which does not exist for every build of torch and which the
    schedulers do not use. So they are imported without running `timm/__init__`, and unloaded again.
    """
    before = {
        name: module for name, module in sys.modules.items() if name.partition(".")[0] == "timm"
    }
    spec = importlib.util.find_spec("timm")
    assert spec is not None
    sys.modules["timm"] = importlib.util.module_from_spec(spec)
    try:
        yield importlib.import_module("timm.scheduler")
    finally:
        for name in _of_timm():
            del sys.modules[name]
        sys.modules.update(before)


def _of_timm() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] == "timm"]


def timm_schedule(schedulers: Any, name: str, optimizer: Any, **arguments: Any) -> Any:
    """A timm scheduler; the plateau one prints that it is deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PlateauLRScheduler is deprecated", FutureWarning)
        return getattr(schedulers, name)(optimizer, **arguments)


def iterate(truth: Truth, task: Task, optimizer: Any) -> torch.Tensor:
    """One iteration of an ordinary loop."""
    optimizer.zero_grad()
    loss = task.loss()
    loss.backward()
    truth.step(optimizer, loss)
    optimizer.step()
    return loss.detach()


def with_transformers(name: str, truth: Truth) -> None:
    """A schedule that is stepped at each step, with a metric where it takes one."""
    task = Task()
    optimizer = AdamW(task.model.parameters(), lr=0.1)
    scheduler = transformers_schedule(name, optimizer)
    with truth.track(optimizer, scheduler):
        for _ in range(STEPS):
            loss = iterate(truth, task, optimizer)
            if name == "reduce_lr_on_plateau":
                truth.after(plateau_metric=float(loss))
            scheduler.step(*([loss] if name in ("reduce_lr_on_plateau", "greedy") else []))


for _name in TRANSFORMERS:
    add(
        f"transformers {_name}",
        partial(with_transformers, _name),
        needs="transformers",
        trackers=TABLE_TRACKERS,
    )


def with_timm(name: str, of_epochs: bool, truth: Truth) -> None:
    """A schedule that is given the epoch, or the number of updates."""
    task = Task()
    groups = [
        {"params": [p], "lr_scale": 1 / (1 + at)}
        for at, p in enumerate(list(task.model.parameters())[:2])
    ]
    optimizer = SGD(groups, lr=0.1)
    with timm_schedulers() as schedulers:
        arguments = {**TIMM[name], "t_in_epochs": of_epochs}
        scheduler = timm_schedule(schedulers, name, optimizer, **arguments)
        with truth.track(optimizer, scheduler):
            for update in range(1, STEPS + 1):
                iterate(truth, task, optimizer)
                scheduler.step_update(num_updates=update)
                if update % 2 == 0:
                    scheduler.step(epoch=update // 2)


for _name in TIMM:
    add(
        f"timm {_name} of epochs",
        partial(with_timm, _name, True),
        needs="timm",
        trackers=TABLE_TRACKERS,
    )
    add(
        f"timm {_name} of updates",
        partial(with_timm, _name, False),
        needs="timm",
        trackers=TABLE_TRACKERS,
    )


@case("timm PlateauLRScheduler", needs="timm")
def timm_plateau(truth: Truth) -> None:
    """timm's plateau scheduler wraps torch's, whose metric is recorded."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    with timm_schedulers() as schedulers:
        arguments = {"patience_t": 0, "decay_rate": 0.5, "warmup_t": 1, "warmup_lr_init": 0.01}
        scheduler = timm_schedule(schedulers, "PlateauLRScheduler", optimizer, **arguments)
        with truth.track(optimizer, scheduler):
            for epoch in range(1, STEPS + 1):
                iterate(truth, task, optimizer)
                scheduler.step(epoch, metric=0.5 / epoch)
                if epoch > 1:
                    truth.after(plateau_metric=0.5 / epoch)
