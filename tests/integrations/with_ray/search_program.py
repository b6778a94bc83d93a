"""A search of transformers' Trainer, for `test_cluster.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from ray import tune

from lrtrack.integrations.transformers import LRTrack


class Line(torch.nn.Module):
    """A line through the origin, in the shape that the Trainer expects."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
        """Returns the loss of a batch."""
        return {"loss": (self.slope * inputs - labels).square().mean()}


class Trainer(transformers.Trainer):
    """A Trainer that notes the rate of each step."""

    def training_step(self, *arguments: Any) -> Any:
        """Notes it in the folder of the search."""
        rate = self.optimizer.param_groups[0]["lr"]
        name = tune.get_context().get_trial_name()
        with Path(self.args.output_dir, f"{name}.jsonl").open("a") as lines:
            lines.write(json.dumps(rate) + "\n")
        return super().training_step(*arguments)


class Impatient(tune.schedulers.FIFOScheduler):  # type: ignore[misc]  # Ray has no types here
    """Stops the trial with the higher rate at its first evaluation, the other at its last one."""

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decides."""
        last = {0.1: 3, 0.2: 1}[trial.config["learning_rate"]]
        return str(self.STOP if result["training_iteration"] == last else self.CONTINUE)


def search(name: str, place: Path) -> Any:
    """Searches, and returns the best trial."""
    folder = place / name
    folder.mkdir()
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=12,
        per_device_train_batch_size=4,
        eval_strategy="steps",
        eval_steps=4,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    rows = [{"inputs": float(i % 3), "labels": float(i % 3)} for i in range(64)]
    trainer = Trainer(
        model_init=lambda: Line(),
        args=arguments,
        train_dataset=rows,
        eval_dataset=rows,
        callbacks=[LRTrack(experiment="rays", flush_timeout=0.0)],
    )
    return trainer.hyperparameter_search(
        backend="ray",
        hp_space=lambda _: {"learning_rate": tune.grid_search([0.1, 0.2])},
        compute_objective=lambda metrics: metrics["eval_loss"],
        n_trials=1,
        resources_per_trial={"cpu": 0.1},
        scheduler=Impatient(),
        storage_path=str(place / "ray"),
        name=name,
        verbose=0,
    )
