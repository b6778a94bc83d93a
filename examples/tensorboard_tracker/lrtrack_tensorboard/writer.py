"""Appending to a run's event files, through torch's own writer."""

import json
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from lrtrack_tensorboard.events import EXACT


class Writer:
    """A run's folder; each time it is opened anew a file is added to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: SummaryWriter | None = None

    def scalar(self, name: str, value: float, step: int, when: float) -> None:
        """For TensorBoard's pages in their 32 bits, which all of its loaders show; then exactly."""
        exact = torch.tensor(value, dtype=torch.float64)
        self._opened().add_scalar(name, value, step, when)
        self._opened().add_tensor(EXACT + name, exact, step, when)

    def note(self, **told: Any) -> None:
        """What is no number, as TensorBoard's Text tab shows it; the latest counts."""
        for name, value in told.items():
            self._opened().add_text(f"lrtrack/{name}", json.dumps(value))
        self.flush()

    def flush(self) -> None:
        """Hand everything to the system, so that it outlives this process."""
        self._opened().flush()

    def close(self) -> None:
        """Let go of the file; idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _opened(self) -> SummaryWriter:
        self._file = self._file or SummaryWriter(str(self._folder))
        return self._file
