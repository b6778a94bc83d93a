"""The digits' network in the Trainer's shape, and interrupted trainings."""

from __future__ import annotations

from typing import Any

import torch
import transformers


class Model(torch.nn.Module):
    """The digits' network in the shape that the Trainer expects."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
        """Returns the loss of a batch."""
        return {"loss": torch.nn.functional.cross_entropy(self.inner(inputs), labels)}


class Trainer(transformers.Trainer):
    """A Trainer that keeps the rows in order."""

    def _get_train_sampler(self, *_: Any) -> None:
        return None


class Interrupted(transformers.TrainerCallback):
    """A training that breaks in the middle of a step."""

    def __init__(self, at: int, error: type[BaseException] = RuntimeError) -> None:
        self.at, self.error = at, error

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Raises at the given step."""
        if state.global_step == self.at:
            raise self.error("broken")
