"""Trainings in the form that Lightning expects."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as lightning
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import ExponentialLR, StepLR

from lrtrack.integrations.lightning import LRTrack

#: A Trainer that writes and prints nothing.
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
#: Lightning's own advice, and its use of torch's private parts.
NOISE = [
    pytest.mark.filterwarnings("ignore:The '.*dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.:FutureWarning"),
]


class Module(lightning.LightningModule):
    """The training of `Digits` as a Lightning module."""

    def __init__(self, task: Any) -> None:
        super().__init__()
        self.model = task.model
        self.task = task

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Returns the loss of a batch."""
        return self.task.loss(*batch)

    def configure_optimizers(self) -> Any:
        """Returns one optimizer, whose scheduler moves at each step."""
        scheduler = {"scheduler": self.task.scheduler, "interval": "step"}
        return {"optimizer": self.task.optimizer, "lr_scheduler": scheduler}


class Epochs(Module):
    """A module whose scheduler, which `make` makes, moves once an epoch."""

    def __init__(self, task: Any, make: Any = lambda optimizer: StepLR(optimizer, 2)) -> None:
        super().__init__(task)
        self.make = make
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.lr = 0.1

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Notes the rate and the loss."""
        loss = super().training_step(batch, batch_idx)
        self.rates.append(self.task.optimizer.param_groups[0]["lr"])
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> Any:
        """Returns the optimizer with a new scheduler."""
        self.task.optimizer = torch.optim.SGD(self.model.parameters(), lr=self.lr)
        return [self.task.optimizer], [self.make(self.task.optimizer)]


class Manual(Module):
    """The same with manual optimization."""

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Does everything that a plain loop does."""
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(self.task.loss(*batch))
        optimizer.step()
        self.lr_schedulers().step()


class Adversaries(lightning.LightningModule):
    """Two networks and two optimizers, one without a schedule, with manual optimization."""

    def __init__(self, task: Any, closures: bool = False) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.task, self.closures = task, closures
        self.generator, self.critic = torch.nn.Linear(4, 64), torch.nn.Linear(64, 1)
        self.losses: dict[str, list[float]] = {"generator": [], "critic": []}

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Steps each optimizer on its own loss."""
        made = self.generator(batch[1][:, None].float().expand(-1, 4) / 9)
        critic, generator = self.optimizers()
        lies = cross_entropy(self.critic(made.detach()).mT, torch.zeros(1).long())
        self._step(critic, lies + self.critic(batch[0]).square().mean(), "critic")
        self._step(generator, (self.critic(made) - 1).square().mean(), "generator")
        self.lr_schedulers().step()

    def _step(self, optimizer: Any, loss: torch.Tensor, name: str) -> None:
        self.losses[name].append(loss.item())

        def closure() -> None:
            optimizer.zero_grad()
            self.manual_backward(loss)

        if self.closures:
            optimizer.step(closure=closure)
        else:
            closure()
            optimizer.step()

    def configure_optimizers(self) -> Any:
        """Returns the critic's optimizer first, whose rate is constant."""
        critic = torch.optim.Adam(self.critic.parameters(), lr=0.01)
        generator = torch.optim.Adam(self.generator.parameters(), lr=0.02)
        return [critic, generator], [ExponentialLR(generator, 0.5)]


def fit(module: Any, callback: Any = None, **options: Any) -> Any:
    """Trains one epoch and returns the callback."""
    callback = callback or LRTrack(tracker="local")
    callbacks = [callback, *options.pop("callbacks", [])]
    trainer = lightning.Trainer(**{**QUIET, "max_epochs": 1, "callbacks": callbacks, **options})
    trainer.fit(module, module.task.loader())
    return callback


def codes(history: Any) -> set[str]:
    """The codes of a run's diagnoses."""
    return {diagnosis["code"] for diagnosis in history.run.diagnoses}
