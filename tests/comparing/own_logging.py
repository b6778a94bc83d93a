"""Trains with what people log with: two schedules by three seeds, of a model of three weights.

    python own_logging.py mlflow|wandb WAY…

Each way to log has an experiment of its own name. Lightning's runs in MLflow are autologged, too.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

STEPS, SEEDS = 12, range(3)
SCHEDULES = ("cosine", "step")

Put = Callable[[dict[str, float], int], Any]


def scheduler_of(name: str, optimizer: torch.optim.Optimizer) -> Any:
    """A scheduler of one of `SCHEDULES`."""
    schedulers = torch.optim.lr_scheduler
    if name == "cosine":
        return schedulers.CosineAnnealingLR(optimizer, STEPS)
    return schedulers.StepLR(optimizer, STEPS // 3)


class Model(torch.nn.Module):
    """A linear layer whose loss falls towards 0, in the form that transformers expects."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """The loss of a batch."""
        return {"loss": self.layer(x).square().mean()}


def loop(name: str, seed: int, put: Put, rate: str = "lr") -> None:
    """A loop that logs by hand."""
    torch.manual_seed(seed)
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = scheduler_of(name, optimizer)
    for step in range(STEPS):
        loss = model(torch.randn(2, 2))["loss"]
        optimizer.zero_grad()
        loss.backward()
        put({rate: optimizer.param_groups[0]["lr"], "loss": loss.item()}, step)
        optimizer.step()
        scheduler.step()


def by_hand(opened: Callable[[str, int], Any]) -> None:
    """Runs that are logged by hand."""
    for name in SCHEDULES:
        for seed in SEEDS:
            with opened(name, seed) as put:
                loop(name, seed, put)


def by_lightning(logger_of: Callable[[], Any], end: Callable[[], Any]) -> None:
    """Lightning's logger and its LearningRateMonitor."""
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import LearningRateMonitor

    class Module(LightningModule):
        def __init__(self, schedule: str, seed: int) -> None:
            super().__init__()
            self.save_hyperparameters()
            torch.manual_seed(seed)
            self.model = Model()

        def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
            loss = self.model(batch)["loss"]
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            scheduler = scheduler_of(self.hparams["schedule"], optimizer)
            return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    quiet = ("checkpointing", "progress_bar", "model_summary")
    for name in SCHEDULES:
        for seed in SEEDS:
            trainer = Trainer(
                max_epochs=2,
                logger=logger_of(),
                callbacks=[LearningRateMonitor("step")],
                accelerator="cpu",
                log_every_n_steps=1,
                **{f"enable_{part}": False for part in quiet},
            )
            trainer.fit(
                Module(name, seed), torch.utils.data.DataLoader(torch.randn(STEPS, 2), batch_size=2)
            )
            end()


def by_transformers(tracker: str, end: Callable[[], Any]) -> None:
    """The callbacks of transformers' Trainer."""
    from transformers import Trainer, TrainingArguments

    for name in ("linear", "cosine"):
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as folder:
                arguments = TrainingArguments(
                    folder,
                    max_steps=STEPS,
                    report_to=tracker,
                    lr_scheduler_type=name,
                    warmup_steps=4,
                    learning_rate=0.1,
                    seed=seed,
                    logging_steps=1,
                    per_device_train_batch_size=2,
                    save_strategy="no",
                    use_cpu=True,
                    disable_tqdm=True,
                )
                data: Any = [{"x": row} for row in torch.randn(2 * STEPS, 2)]
                Trainer(Model(), arguments, train_dataset=data).train()
                end()


def by_accelerate(tracker: str) -> None:
    """The trackers of accelerate."""
    from accelerate import Accelerator

    for name in SCHEDULES:
        for seed in SEEDS:
            accelerator = Accelerator(log_with=tracker, cpu=True)
            accelerator.init_trackers("accelerate", config={"seed": seed})
            loop(name, seed, lambda values, step: accelerator.log(values, step=step), "train/lr")  # noqa: B023
            accelerator.end_training()


def in_mlflow(ways: list[str]) -> None:
    """Logs in MLflow."""
    import mlflow

    @contextmanager
    def opened(name: str, seed: int) -> Iterator[Put]:
        with mlflow.start_run():
            mlflow.log_params({"random_seed": seed, "batch_size": 2})
            yield lambda values, step: mlflow.log_metrics(values, step=step)

    if "hand" in ways:
        mlflow.set_experiment("hand")
        by_hand(opened)
    if "transformers" in ways:
        os.environ["MLFLOW_EXPERIMENT_NAME"] = "transformers"
        by_transformers("mlflow", mlflow.end_run)
        del os.environ["MLFLOW_EXPERIMENT_NAME"]
    if "accelerate" in ways:
        by_accelerate("mlflow")
    if "lightning" in ways:
        from lightning.pytorch.loggers import MLFlowLogger

        mlflow.set_experiment("autolog")
        mlflow.pytorch.autolog(log_models=False, log_every_n_step=1, checkpoint=False)
        by_lightning(
            lambda: MLFlowLogger("lightning", tracking_uri=mlflow.get_tracking_uri()),
            mlflow.end_run,
        )


def in_wandb(ways: list[str]) -> None:
    """Logs in W&B."""
    import wandb

    @contextmanager
    def opened(name: str, seed: int) -> Iterator[Put]:
        with wandb.init(project="hand", config={"trainer": {"seed": seed}}) as run:
            yield lambda values, _: run.log(values)

    if "hand" in ways:
        by_hand(opened)
    if "transformers" in ways:
        os.environ["WANDB_PROJECT"] = "transformers"
        by_transformers("wandb", wandb.finish)
        del os.environ["WANDB_PROJECT"]
    if "accelerate" in ways:
        by_accelerate("wandb")
    if "lightning" in ways:
        from lightning.pytorch.loggers import WandbLogger

        by_lightning(lambda: WandbLogger(project="lightning"), wandb.finish)


if __name__ == "__main__":
    _, place, *asked = sys.argv
    (in_mlflow if place == "mlflow" else in_wandb)(asked)
