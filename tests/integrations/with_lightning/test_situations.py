"""Situations of Lightning's users, each with its own truth: what the module itself measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import lightning.pytorch as lightning
import pytest
import torch
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    EarlyStopping,
    StochasticWeightAveraging,
    Timer,
)
from lightning.pytorch.plugins import MixedPrecision
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau, StepLR

from .modules import NOISE, fit

pytestmark = NOISE
#: Three epochs of four batches.
TASK = {"steps": 12, "batches": 4}


def norm_of(module: torch.nn.Module) -> float:
    """The L2 norm over all gradients, computed in double precision."""
    norms = [p.grad.double().norm() for p in module.parameters() if p.grad is not None]
    return float(torch.stack(norms).norm())


class Measuring(lightning.LightningModule):
    """Trains the digits, and notes the rate, the norm and the losses of each step."""

    def __init__(self, task: Any, schedule: Callable[[Any], Any] | None = None) -> None:
        super().__init__()
        self.task, self.schedule = task, schedule
        layers = list(task.model)
        self.backbone, self.head = torch.nn.Sequential(*layers[:-1]), layers[-1]
        self.rates: list[float] = []
        self.norms: list[float] = []
        self.losses: list[float] = []
        self.means: list[float] = []
        self.skipped = 0
        self.optimizer: Any = None

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Notes and returns the loss of a batch."""
        loss = self.task.loss(*batch)
        self.losses.append(loss.item())
        self.log("watched", 1.0, on_step=False, on_epoch=True)
        return loss

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Notes what the step will use, after clipping."""
        super().configure_gradient_clipping(optimizer, *args, **kwargs)
        self.note(optimizer)

    def note(self, optimizer: Any) -> None:
        """Notes what the step will use."""
        losses, self.losses = self.losses, []
        if not math.isfinite(norm_of(self)):  # a step that the GradScaler skips
            self.skipped += 1
            return
        self.rates.append(optimizer.param_groups[0]["lr"])
        self.norms.append(norm_of(self))
        self.means.append(sum(losses) / len(losses))

    def configure_optimizers(self) -> Any:
        """Returns the optimizer with the schedule of the case."""
        trained = [p for p in self.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(trained, lr=0.1)
        if self.schedule is None:
            return self.optimizer
        return {"optimizer": self.optimizer, "lr_scheduler": self.schedule(self.optimizer)}


class Toggling(Measuring):
    """The same with manual optimization, where the optimizer is toggled."""

    def __init__(self, task: Any, schedule: Any = None) -> None:
        super().__init__(task, schedule)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Does a step, clipped by hand."""
        optimizer = self.optimizers()
        self.toggle_optimizer(optimizer)
        loss = super().training_step(batch, batch_idx)
        optimizer.zero_grad()
        self.manual_backward(loss)
        self.clip_gradients(optimizer, gradient_clip_val=0.5, gradient_clip_algorithm="norm")
        self.note(optimizer)
        optimizer.step()
        self.untoggle_optimizer(optimizer)
        self.lr_schedulers().step()


class Finetuning(BackboneFinetuning):
    """Trains the backbone from the second epoch on."""

    def __init__(self) -> None:
        super().__init__(unfreeze_backbone_at_epoch=1, backbone_initial_ratio_lr=0.5)


class Ticking(Timer):
    """A limit of five seconds, for a clock that goes on by one second with each step."""

    def __init__(self) -> None:
        super().__init__(timedelta(seconds=5))
        self.seconds = 0.0

    def time_elapsed(self, stage: Any = None) -> float:
        """The seconds by this clock."""
        return self.seconds

    def on_train_batch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        """Goes on, and ends the training when the time is over."""
        self.seconds = float(trainer.global_step)
        super().on_train_batch_end(trainer, *args, **kwargs)


class Scaled(MixedPrecision):
    """Half precision on the CPU, whose first scales are so large that gradients overflow."""

    def __init__(self) -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20, growth_interval=4)
        super().__init__("16-mixed", "cpu", scaler)


class Stopping(lightning.Callback):
    """Ends the training as a user does."""

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Ends it after five steps."""
        trainer.should_stop = trainer.global_step >= 5


def averaging() -> list[Any]:
    """Averages weights from the second epoch on, where another scheduler takes over."""
    return [StochasticWeightAveraging(0.02, swa_epoch_start=2, annealing_epochs=1)]


def configured(make: Callable[[Any], Any], **settings: Any) -> Callable[[Any], Any]:
    """A scheduler in Lightning's configuration."""
    return lambda optimizer: {"scheduler": make(optimizer), **settings}


def exponential(optimizer: Any) -> Any:
    """A schedule that moves at each step."""
    return ExponentialLR(optimizer, 0.9)


@dataclass(frozen=True)
class Case:
    """One situation.

    Attributes:
        schedule: makes the scheduler.
        steps: how many steps it makes.
        trainer: options of the Trainer.
        callbacks: makes further callbacks.
        plugins: makes plugins of the Trainer.
        module: the module's class.
        lowest: the rate of the last step.
    """

    schedule: Callable[[Any], Any] | None = None
    steps: int = 12
    trainer: dict[str, Any] = field(default_factory=dict)
    callbacks: Callable[[], list[Any]] = list
    plugins: Callable[[], list[Any]] = list
    module: type[Measuring] = Measuring
    lowest: float = 0.1


CASES = {
    "each step": Case(configured(exponential, interval="step"), lowest=0.1 * 0.9**11),
    "each epoch": Case(configured(lambda o: StepLR(o, 1), interval="epoch"), lowest=0.001),
    "frequency": Case(
        configured(exponential, interval="step", frequency=3), lowest=0.1 * 0.9**3
    ),
    "monitor": Case(
        configured(lambda o: ReduceLROnPlateau(o, patience=0), monitor="watched"), lowest=0.01
    ),
    "no scheduler": Case(),
    "accumulation": Case(
        configured(exponential, interval="step"),
        6,
        {"accumulate_grad_batches": 2},
        lowest=0.1 * 0.9**5,
    ),
    "clipped by norm": Case(trainer={"gradient_clip_val": 0.3}),
    "clipped by value": Case(
        trainer={"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"}
    ),
    "bf16-mixed": Case(trainer={"precision": "bf16-mixed"}),
    "early stopping": Case(
        steps=8,
        callbacks=lambda: [EarlyStopping("watched", patience=1, check_on_train_epoch_end=True)],
    ),
    "16-mixed": Case(
        configured(lambda o: StepLR(o, 1), interval="epoch"),
        steps=9,
        trainer={"gradient_clip_val": 0.5},
        plugins=lambda: [Scaled()],
        lowest=0.001,
    ),
    "max_time": Case(trainer={"max_time": timedelta(hours=1)}),
    "max_time is over": Case(steps=5, callbacks=lambda: [Ticking()]),
    "max_steps": Case(steps=7, trainer={"max_steps": 7, "max_epochs": None}),
    "stopped in an epoch": Case(steps=5, callbacks=lambda: [Stopping()]),
    "finetuning": Case(callbacks=lambda: [Finetuning()]),
    "weight averaging": Case(lambda o: StepLR(o, 1, 0.5), callbacks=averaging, lowest=0.02),
    "weight averaging, accumulated": Case(
        lambda o: StepLR(o, 1, 0.5), 6, {"accumulate_grad_batches": 2}, averaging, lowest=0.02
    ),
    "toggled": Case(exponential, module=Toggling, lowest=0.1 * 0.9**11),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_the_run_holds(digits, local, steps_of, name: str) -> None:
    """A run holds the rates, norms and losses that the module measured, and no false diagnosis."""
    case = CASES[name]
    module = case.module(digits(**TASK), case.schedule)
    options = {"max_epochs": 3, "callbacks": case.callbacks(), **case.trainer}
    options["plugins"] = case.plugins()
    fit(module, **options)
    (history,) = local()
    steps = steps_of(history)

    assert history.steps.tolist() == list(range(case.steps))
    assert list(steps["lr"].values()) == module.rates
    assert list(steps["grad_norm"].values()) == pytest.approx(module.norms, rel=1e-5)
    assert list(steps["loss"].values()) == pytest.approx(module.means, rel=1e-6)
    assert pytest.approx(case.lowest) == module.rates[-1]
    assert not {d["code"] for d in history.run.diagnoses} & {"LR002", "LR013", "LR030", "LR031"}


class Adversaries(lightning.LightningModule):
    """Two networks that are trained in turn, each with its optimizer toggled."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        torch.manual_seed(0)
        self.critic, self.generator = torch.nn.Linear(64, 1), torch.nn.Linear(64, 64)
        self.measured: dict[str, list[tuple[float, float, float]]] = {"critic": [], "generator": []}

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Does a step of each; the critic's gradients are clipped."""
        for name, optimizer in zip(self.measured, self.optimizers(), strict=True):
            self.toggle_optimizer(optimizer)
            judged = self.critic(self.generator(batch[0]))
            loss = (judged - 1).square().mean() if name == "generator" else judged.square().mean()
            optimizer.zero_grad()
            self.manual_backward(loss)
            if name == "critic":
                self.clip_gradients(optimizer, gradient_clip_val=0.1)
            norm = norm_of(getattr(self, name))
            self.measured[name].append((optimizer.param_groups[0]["lr"], norm, loss.item()))
            optimizer.step()
            self.untoggle_optimizer(optimizer)
        for scheduler in self.lr_schedulers():
            scheduler.step()

    def configure_optimizers(self) -> Any:
        """Returns both optimizers, with a schedule each."""
        critic = torch.optim.Adam(self.critic.parameters(), lr=0.01)
        generator = torch.optim.SGD(self.generator.parameters(), lr=0.02)
        return [critic, generator], [exponential(critic), StepLR(generator, 2)]


def test_two_optimizers_that_are_toggled(digits, local, steps_of) -> None:
    """Each of two toggled optimizers has a run with the rates, norms and losses of its own."""
    module = Adversaries()
    module.task = digits(**TASK)
    fit(module, max_epochs=3)
    histories = {history.run.prefix: history for history in local()}

    assert histories.keys() == {"critic/", "generator/"}
    for name, measured in module.measured.items():
        history = histories[f"{name}/"]
        steps = steps_of(history)
        rates, norms, losses = map(list, zip(*measured, strict=True))
        assert history.steps.tolist() == list(range(12))
        assert list(steps[f"{name}/lr"].values()) == rates
        assert list(steps[f"{name}/grad_norm"].values()) == pytest.approx(norms, rel=1e-5)
        assert list(steps[f"{name}/loss"].values()) == losses
        assert history.run.schedule.name == ("ExponentialLR" if name == "critic" else "StepLR")
