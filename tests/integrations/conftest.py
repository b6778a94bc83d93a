"""One small training on the digits as a plain loop, with which frameworks are compared."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import OneCycleLR

import lrtrack
from lrtrack.records import History
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker

BATCH, STEPS = 16, 12


class Digits:
    """The training that every framework gets: the same data, weights and schedule.

    Attributes:
        model, optimizer, scheduler: fresh, from seed 0.
        rows: inputs, shape (n, 64), and labels, shape (n,), in the order in which they are used.
    """

    def __init__(self, steps: int = STEPS, batches: int | None = None) -> None:
        torch.manual_seed(0)
        self.steps = steps
        self.model = torch.nn.Sequential(
            torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10)
        )
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.scheduler = OneCycleLR(self.optimizer, 0.2, total_steps=steps)
        digits, size = load_digits(), BATCH * (batches or steps)
        self.rows = (
            torch.tensor(digits.data[:size] / 16, dtype=torch.float32),
            torch.tensor(digits.target[:size]),
        )

    def loader(self) -> torch.utils.data.DataLoader[Any]:
        """Returns batches of `BATCH` rows, in order."""
        dataset = torch.utils.data.TensorDataset(*self.rows)
        return torch.utils.data.DataLoader(dataset, batch_size=BATCH)

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yields the same batches, without a loader."""
        yield from zip(self.rows[0].split(BATCH), self.rows[1].split(BATCH), strict=True)

    def loss(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Returns the loss of one batch."""
        return cross_entropy(self.model(inputs), labels)

    def plain(self, accumulate: int = 1, clip: float | None = None) -> History:
        """Trains in a plain loop and returns what lrtrack recorded."""
        place = Path("plain")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LRTRACK_DIR", str(place.absolute()))
            with lrtrack.track(self.optimizer, self.scheduler, tracker="local"):
                for index, (inputs, labels) in enumerate(self.batches(), 1):
                    (self.loss(inputs, labels) / accumulate).backward()
                    if index % accumulate == 0:
                        if clip is not None:
                            torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip)
                        self.optimizer.step()
                        self.scheduler.step()
                        self.optimizer.zero_grad()
        (history,) = LocalTracker().histories(Query(directory=place))
        return history


@pytest.fixture
def digits() -> type[Digits]:
    """Makes further trainings of this kind."""
    return Digits


@pytest.fixture
def local(clean_place: Path) -> Callable[[], list[History]]:
    """Returns all runs in the working directory's journals, newest first."""
    return lambda: list(LocalTracker().histories(Query(directory=clean_place / ".lrtrack")))


@pytest.fixture
def steps_of() -> Callable[[History], dict[str, dict[int, float]]]:
    """Returns a history as metric → step → value, to be compared with `==` or `pytest.approx`.

    `loss_count` is left out: frameworks that divide the loss themselves make it redundant.
    """

    def table(history: History) -> dict[str, dict[int, float]]:
        metrics = {}
        for name in sorted(history.metrics.keys() - {"loss_count"}):
            steps, values = history.series(name)
            metrics[name] = dict(zip(steps.tolist(), np.asarray(values).tolist(), strict=True))
        return metrics

    return table


@pytest.fixture
def in_child() -> Callable[[Callable[[], object]], int]:
    """Runs a function in a forked process and returns how that process ended."""

    def run(task: Callable[[], object]) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a process with threads forks
            child = os.fork()
        if child == 0:
            status = 1
            try:
                task()
                status = 0
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    return run
