"""The same small network in the training loops of frameworks; see `loop.py`.

Each framework is compared with itself: `…-bare` is its loop without logging, `…-peer` logs learning
rate, gradient norm and loss at each step as its users do, `…-lrtrack` has the bare loop inside
lrtrack's block.
"""

from __future__ import annotations

import logging
import time
import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import loop
import torch


def main(way: str, steps: int, milliseconds: int) -> dict[str, Any]:
    """Runs the loop; returns its seconds, and those until everything is stored."""
    framework, _, how = way.partition("-")
    task = loop.Task(steps, milliseconds)
    for _ in range(20):
        task.loss()
    task.optimizer.zero_grad()
    run = {"lightning": _lightning, "transformers": _transformers, "accelerate": _accelerate}
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    return run[framework](task, steps, how)


def _block(task: loop.Task, how: str) -> AbstractContextManager[Any]:
    if how != "lrtrack":
        return nullcontext()
    import lrtrack

    return lrtrack.track(task.optimizer, task.scheduler, experiment="bench", flush_timeout=120)


def _lightning(task: loop.Task, steps: int, how: str) -> dict[str, Any]:
    import lightning
    from lightning.pytorch.callbacks import LearningRateMonitor
    from lightning.pytorch.loggers import MLFlowLogger
    from lightning.pytorch.utilities import grad_norm

    clock = _Clock()

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = task.model

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            clock.begin()
            loss = torch.nn.functional.cross_entropy(self.model(batch[0]), batch[1])
            if how == "peer":
                self.log("loss", loss)
            return loss

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            if how == "peer":
                self.log_dict(grad_norm(self, norm_type=2))

        def configure_optimizers(self) -> Any:
            schedule = {"scheduler": task.scheduler, "interval": "step"}
            return {"optimizer": task.optimizer, "lr_scheduler": schedule}

        def on_train_end(self) -> None:
            clock.end()

    peer = how == "peer"
    trainer = lightning.Trainer(
        max_steps=steps,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        log_every_n_steps=1,
        logger=MLFlowLogger("bench", tracking_uri=_uri()) if peer else False,
        callbacks=[LearningRateMonitor("step")] if peer else [],
    )
    with _block(task, how):
        trainer.fit(Module(), _batches(task, steps))
    return clock.found()


def _transformers(task: loop.Task, steps: int, how: str) -> dict[str, Any]:
    import transformers

    clock = _Clock()

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = task.model

        def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
            return {"loss": torch.nn.functional.cross_entropy(self.model(inputs[0]), labels[0])}

    class Clock(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            clock.begin()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            clock.end()

    arguments = transformers.TrainingArguments(
        output_dir="out",
        max_steps=steps,
        per_device_train_batch_size=1,
        use_cpu=True,
        max_grad_norm=0.0 if how != "peer" else 1e9,  # Where it clips, it also logs the norm.
        logging_strategy="steps" if how == "peer" else "no",
        logging_steps=1,
        report_to="mlflow" if how == "peer" else "none",
        save_strategy="no",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    rows = [{"inputs": task.inputs, "labels": task.labels}] * steps
    trainer = transformers.Trainer(
        Model(),
        arguments,
        train_dataset=rows,
        optimizers=(task.optimizer, task.scheduler),
        callbacks=[Clock()],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    with _block(task, how):
        trainer.train()
    if how == "peer":
        import mlflow

        mlflow.end_run()
    return clock.found()


def _accelerate(task: loop.Task, steps: int, how: str) -> dict[str, Any]:
    import accelerate

    clock = _Clock()
    trackers = {"log_with": "mlflow", "project_dir": "."} if how == "peer" else {}
    accelerator = accelerate.Accelerator(cpu=True, **trackers)
    model, optimizer, scheduler = accelerator.prepare(task.model, task.optimizer, task.scheduler)
    if how == "peer":
        accelerator.init_trackers("bench")
    with _block(task, how):
        for step in range(steps):
            clock.begin()
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(task.inputs), task.labels)
            accelerator.backward(loss)
            if how == "peer":
                rate, norm = scheduler.get_last_lr()[0], task.norm().item()
                accelerator.log({"lr": rate, "grad_norm": norm, "loss": loss.item()}, step=step)
            optimizer.step()
            scheduler.step()
        clock.end()
    if how == "peer":
        accelerator.end_training()
    return clock.found()


class _Clock:
    """A clock from the start of the first step to the end of the last, and on until storage
    ends.
    """

    def __init__(self) -> None:
        self._begun = self._ended = 0.0

    def begin(self) -> None:
        """Marks the start of a step."""
        self._begun = self._begun or time.perf_counter()

    def end(self) -> None:
        """Marks the end of the last step."""
        self._ended = time.perf_counter()

    def found(self) -> dict[str, float]:
        """Returns the part of `loop.main`'s result that is known here."""
        after = time.perf_counter() - self._ended
        return {"loop": self._ended - self._begun, "after": after}


def _batches(task: loop.Task, steps: int) -> Any:
    rows: Any = [(task.inputs, task.labels)] * steps
    return torch.utils.data.DataLoader(rows, batch_size=None)


def _uri() -> str:
    import mlflow

    return str(mlflow.get_tracking_uri())
