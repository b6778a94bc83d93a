"""A Trainer for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import transformers
from accelerate.state import AcceleratorState, GradientState

from .trainers import Model, Trainer


@pytest.fixture
def trainer(digits: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Makes Trainers for a task and restores accelerate's state, which is global to the process."""
    # Transformers 4 sets it for `bf16=True`, and later trainings follow it.
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")

    def make(
        callbacks: list[Any], task: Any = None, model: Any = None, rows: Any = None, **options: Any
    ) -> Any:
        task = task or digits()
        arguments = transformers.TrainingArguments(
            **{
                "output_dir": "out",
                "num_train_epochs": 1,
                "per_device_train_batch_size": 16,
                "use_cpu": True,
                "report_to": "none",
                "save_strategy": "no",
                "logging_strategy": "no",
                "disable_tqdm": True,
                "dataloader_pin_memory": False,
                **options,
            }
        )
        rows = rows or [{"inputs": x, "labels": y} for x, y in zip(*task.rows, strict=True)]
        made_trainer = Trainer(
            model or Model(task.model),
            arguments,
            train_dataset=rows,
            eval_dataset=list(rows)[:32],
            optimizers=(None, None) if model else (task.optimizer, task.scheduler),
            callbacks=callbacks,
        )
        made_trainer.remove_callback(transformers.PrinterCallback)
        return made_trainer

    yield make
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
