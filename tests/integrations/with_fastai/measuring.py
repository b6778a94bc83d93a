"""Learners, and a callback that measures what the records of their steps should hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import torch

pytest.importorskip("fastai", reason="needs fastai, as tox -e newest-fastai installs it")
from fastai.callback.core import Callback
from fastai.callback.fp16 import AMPMode, MixedPrecision
from fastai.callback.progress import ProgressCallback
from fastai.callback.schedule import Learner, LRFinder
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy
from fastai.optimizer import Adam, OptimWrapper
from fastai.torch_core import params
from fastcore.foundation import L

TORCH_ADAM = partial(OptimWrapper, opt=torch.optim.AdamW)


@dataclass
class Fit:
    """What each step of one fit used.

    Attributes:
        rates: the rate of each group, one list a step.
        norms: the L2 norm over all gradients.
        losses: the loss.
    """

    rates: list[list[float]] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


class Measured(Callback):
    """Measures each step of each fit that is a training, right where fastai makes it."""

    order, run_valid = 69, False

    def __init__(self) -> None:
        self.fits: list[Fit] = []
        self.skipped = 0

    def before_fit(self) -> None:
        """Begins anew."""
        self.searches = any(isinstance(callback, LRFinder) for callback in self.learn.cbs)
        self.pending, self.current = 0.0, Fit()

    def after_loss(self) -> None:
        """Adds the loss of a batch as it counts in the step, before anything scales it."""
        self.pending += float(self.learn.loss_grad.detach())

    def after_cancel_step(self) -> None:
        """Drops the loss of a step that is skipped, and counts it."""
        self.pending, self.skipped = 0.0, self.skipped + 1

    def before_step(self) -> None:
        """Notes what the step uses."""
        if self.searches:
            return
        gradients = [p.grad.double() for p in self.learn.model.parameters() if p.grad is not None]
        fit = self.current
        if not fit.rates:
            self.fits.append(fit)
        fit.norms.append(float(torch.nn.utils.get_total_norm(gradients)))
        fit.rates.append([float(group["lr"]) for group in self.learn.opt.hypers])
        fit.losses.append(self.pending)
        self.pending = 0.0


class OnTheCPU(MixedPrecision):
    """fastai's mixed precision, which is for GPUs, on the CPU; its first scales are too large."""

    def before_fit(self) -> None:
        """Makes what fastai makes for a GPU."""
        half = self.amp_mode is AMPMode.FP16
        dtype = torch.float16 if half else torch.bfloat16
        self.autocast = torch.amp.autocast("cpu", dtype=dtype)
        self.learn.scaler = torch.amp.GradScaler(
            "cpu", enabled=half, **{"init_scale": 2.0**20, "growth_interval": 4, **self.kwargs}
        )
        self.scales = []


def say_nothing(_: Any) -> None:
    """Prints no table, where a Learner would."""


def learner(task: Any, callbacks: list[Any], opt_func: Any = Adam, **options: Any) -> Learner:
    """A silent Learner on the task's rows."""
    loaders = [
        DataLoader(list(zip(*task.rows, strict=True)), bs=16, drop_last=True, num_workers=0)
        for _ in range(2)
    ]
    made = Learner(
        DataLoaders(*loaders, device="cpu"),
        task.model,
        CrossEntropyLossFlat(),
        opt_func,
        cbs=callbacks,
        metrics=[accuracy],
        **options,
    )
    made.logger = say_nothing
    return made.remove_cb(ProgressCallback)


def layers(model: Any) -> Any:
    """Groups of parameters for discriminative rates: the backbone and the head."""
    return L(model[0], model[2]).map(params)


def made(task: Any, *callbacks: Any, **options: Any) -> Learner:
    """A Learner with two groups, whose optimizer is torch's if asked."""
    return learner(task, list(callbacks), splitter=layers, **options)


def rates_of(history: Any) -> list[list[float]]:
    """The rates of all groups of each step of a run."""
    names = sorted(name for name in history.metrics if name.startswith("lr/"))
    return [list(row) for row in zip(*(history.series(n)[1] for n in names or ["lr"]), strict=True)]


def matches(history: Any, fit: Fit) -> bool:
    """Whether a run holds what was measured."""
    return (
        rates_of(history) == fit.rates
        and history.series("grad_norm")[1].tolist() == pytest.approx(fit.norms, rel=1e-5)
        and history.series("loss")[1].tolist() == pytest.approx(fit.losses, rel=1e-6)
    )
