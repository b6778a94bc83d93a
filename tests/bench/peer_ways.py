"""A small training with one way of logging, written as its users write it; see `peers.py`.

    python peer_ways.py WAY PAUSE KILL

PAUSE is slept in each optimizer step, in seconds; after KILL steps the process kills itself. All
ways train the same network on the same batches, bit for bit. A hook of this file records the values
that the optimizer receives and the resulting weights in `truth.json`.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import by_hand
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

STEPS, ACCUMULATE, BATCH, CLIP, PEAK = 40, 2, 16, 0.35, 0.5

WAYS = {
    "lightning": "Lightning: LearningRateMonitor, `grad_norm`, MLFlowLogger",
    "transformers": "transformers: `report_to=\"mlflow\"`, `logging_steps=1`",
    "autolog": "`mlflow.pytorch.autolog(log_every_n_step=1)`, Lightning",
    "wandb": "`wandb.watch(log_freq=1)`, `wandb.log` by hand",
    "dvclive": "DVCLive: DVCLiveLogger, LearningRateMonitor, Lightning",
    "accelerate": "accelerate: `log_with=\"mlflow\"`, `log` by hand",
    "tensorboard": "TensorBoard: `SummaryWriter.add_scalar` by hand",
    "trackio": "`trackio.log` by hand",
    "swanlab": "`swanlab.log` by hand, offline",
    "lrtrack": "lrtrack, a plain loop",
    "lrtrack-lightning": "lrtrack, in Lightning",
    "lrtrack-transformers": "lrtrack, in transformers",
}  # fmt: skip
#: Ways whose packages log into files, by hand.
FILES = ("tensorboard", "trackio", "swanlab")


class Task:
    """Network, optimizer, schedule and data, with independent recording of the true values."""

    def __init__(self, pause: float, kill: int) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(
            torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
        )
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, PEAK, total_steps=STEPS
        )
        digits, size = load_digits(), BATCH * ACCUMULATE * STEPS
        self.rows = torch.utils.data.TensorDataset(
            torch.tensor(digits.data[:size] / 16, dtype=torch.float32),
            torch.tensor(digits.target[:size]),
        )
        self.truth: dict[str, list[float]] = {
            name: [] for name in ("lr", "momentum", "batches", "preclip", "clipped")
        }
        self._pause, self._kill = pause, kill
        self.optimizer.register_step_pre_hook(self._look)

    def loader(self) -> Any:
        """Returns the batches, in order."""
        return torch.utils.data.DataLoader(self.rows, batch_size=BATCH)

    def loss(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Returns a batch's loss; kills the process at the start of the step after the last."""
        if len(self.truth["batches"]) == self._kill * ACCUMULATE:
            os.kill(os.getpid(), signal.SIGKILL)
        loss = cross_entropy(self.model(inputs), labels)
        self.truth["batches"].append(loss.item())
        return loss

    def _look(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        time.sleep(self._pause)
        group = optimizer.param_groups[0]
        for name in ("lr", "momentum"):
            self.truth[name].append(group[name])

    def keep(self) -> None:
        """Writes the recorded values and the resulting weights."""
        weights = [p.detach().flatten().tolist() for p in self.model.parameters()]
        Path("truth.json").write_text(json.dumps({**self.truth, "weights": weights}))


def main(way: str, pause: float, kill: int) -> None:
    """Trains, logs and writes the true values."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    task = Task(pause, kill)
    how = {
        "lightning": lambda: lightning(task, "monitor"),
        "transformers": lambda: transformers(task, "mlflow"),
        "autolog": lambda: autolog(task),
        "wandb": lambda: wandb(task),
        "dvclive": lambda: lightning(task, "dvclive"),
        "accelerate": lambda: accelerate(task),
        "lrtrack": lambda: tracked(task),
        **{each: lambda each=each: into_files(task, each) for each in FILES},
        "lrtrack-lightning": lambda: lightning(task, "lrtrack"),
        "lrtrack-transformers": lambda: transformers(task, "lrtrack"),
    }
    how[way]()
    task.keep()


def plain(task: Task, log: Any = lambda found: None) -> None:
    """A loop without a framework; `log` receives the values at hand after each step."""
    loss = 0.0
    for index, batch in enumerate(task.loader(), 1):
        part = task.loss(*batch) / ACCUMULATE
        part.backward()
        loss += part.item()
        if index % ACCUMULATE == 0:
            norm = torch.nn.utils.clip_grad_norm_(task.model.parameters(), CLIP)
            task.truth["preclip"].append(norm.item())
            task.truth["clipped"].append(min(norm.item(), CLIP))
            task.optimizer.step()
            log({"loss": loss, "lr": task.scheduler.get_last_lr()[0], "grad_norm": norm.item()})
            task.scheduler.step()
            task.optimizer.zero_grad()
            loss = 0.0


def tracked(task: Task) -> None:
    """The loop inside lrtrack's block."""
    import lrtrack

    with lrtrack.track(task.optimizer, task.scheduler, experiment="peers", seed=0):
        plain(task)


def wandb(task: Task) -> None:
    """A loop whose gradients W&B watches, with the rest logged by hand."""
    import wandb as client

    with client.init(project="peers", config={"max_lr": PEAK}) as run:
        run.watch(task.model, log="gradients", log_freq=1)
        plain(task, run.log)


def into_files(task: Task, way: str) -> None:
    """A loop that logs by hand into the files of a package."""
    with ExitStack() as stack:
        log = by_hand.start(way, stack, task.model)
        plain(task, lambda found: log(len(task.truth["lr"]) - 1, found))


def lightning(task: Task, how: str) -> None:
    """A Trainer that accumulates and clips by itself."""
    import lightning as framework
    from lightning.pytorch.callbacks import LearningRateMonitor
    from lightning.pytorch.loggers import MLFlowLogger
    from lightning.pytorch.utilities import grad_norm

    class Module(framework.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = task.model

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            loss = task.loss(*batch)
            self.log("loss", loss)
            return loss

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            if how == "monitor":
                self.log_dict(grad_norm(self, norm_type=2))

        def configure_optimizers(self) -> Any:
            schedule = {"scheduler": task.scheduler, "interval": "step"}
            return {"optimizer": task.optimizer, "lr_scheduler": schedule}

    logger: Any = False
    if how == "monitor":
        logger = MLFlowLogger("peers", tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
    if how == "dvclive":
        from dvclive.lightning import DVCLiveLogger

        logger = DVCLiveLogger(dir="dvclive", report=None, save_dvc_exp=False)
    monitor: list[Any] = [LearningRateMonitor("step", log_momentum=True)] if logger else []
    if how == "lrtrack":
        from lrtrack.integrations.lightning import LRTrack

        monitor = [LRTrack(experiment="peers", seed=0)]
    trainer = framework.Trainer(
        max_epochs=1,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        log_every_n_steps=1,
        accumulate_grad_batches=ACCUMULATE,
        gradient_clip_val=CLIP,
        logger=logger,
        callbacks=monitor,
    )
    trainer.fit(Module(), task.loader())


def autolog(task: Task) -> None:
    """MLflow's autologging, which supports Lightning."""
    import mlflow

    mlflow.set_experiment("peers")
    mlflow.pytorch.autolog(log_every_n_step=1, log_models=False, checkpoint=False)
    lightning(task, "")


def transformers(task: Task, how: str) -> None:
    """A Trainer that accumulates and clips by itself."""
    import transformers as framework

    report_to = "mlflow" if how == "mlflow" else "none"

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = task.model

        def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
            return {"loss": task.loss(inputs, labels)}

    class InOrder(framework.Trainer):  # type: ignore[misc]
        def _get_train_sampler(self, *_: Any, **__: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    os.environ["MLFLOW_EXPERIMENT_NAME"] = "peers"
    arguments = framework.TrainingArguments(
        output_dir="out",
        num_train_epochs=1,
        per_device_train_batch_size=BATCH,
        gradient_accumulation_steps=ACCUMULATE,
        max_grad_norm=CLIP,
        use_cpu=True,
        logging_strategy="steps" if report_to != "none" else "no",
        logging_steps=1,
        report_to=report_to,
        save_strategy="no",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    rows = [{"inputs": inputs, "labels": label} for inputs, label in task.rows]
    trainer = InOrder(
        Model(), arguments, train_dataset=rows, optimizers=(task.optimizer, task.scheduler)
    )
    trainer.remove_callback(framework.PrinterCallback)
    if how == "lrtrack":
        from lrtrack.integrations.transformers import LRTrack

        trainer.add_callback(LRTrack(experiment="peers", seed=0))
    trainer.train()


def accelerate(task: Task) -> None:
    """A loop in which the user chooses what to log."""
    import accelerate as framework

    accelerator = framework.Accelerator(
        cpu=True, gradient_accumulation_steps=ACCUMULATE, log_with="mlflow", project_dir="."
    )
    accelerator.init_trackers("peers", config={"max_lr": PEAK})
    model, optimizer, scheduler, loader = accelerator.prepare(
        task.model, task.optimizer, task.scheduler, task.loader()
    )
    loss, step = 0.0, 0
    for batch in loader:
        with accelerator.accumulate(model):
            part = task.loss(*batch)
            accelerator.backward(part)
            loss += part.item() / ACCUMULATE
            if accelerator.sync_gradients:
                norm = accelerator.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            if accelerator.sync_gradients:
                found = {"loss": loss, "lr": scheduler.get_last_lr()[0], "grad_norm": norm.item()}
                accelerator.log(found, step=step)
                loss, step = 0.0, step + 1
            scheduler.step()
            optimizer.zero_grad()
    accelerator.end_training()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
