"""What Lightning's objects hold of settings is the run's `config`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, TensorDataset

from lrtrack.errors import LRTrackWarning
from lrtrack.integrations.lightning import LRTrack

from .modules import NOISE, Module, fit

pytestmark = NOISE
#: One epoch of four batches.
TASK = {"steps": 4, "batches": 4}


class Configured(Module):
    """A module with hyperparameters."""

    def __init__(self, task: Any, width: int = 16, betas: tuple[float, ...] = (0.9, 0.99)) -> None:
        super().__init__(task)
        self.save_hyperparameters(ignore="task")


def test_hyperparameters_are_the_configuration(digits, local) -> None:
    """`save_hyperparameters()` and the sizes of batches are in `config`; the user's own wins."""
    callback = LRTrack(tracker="local", config={"width": 99})
    fit(Configured(digits(**TASK)), callback, accumulate_grad_batches=2)

    assert local()[0].run.config == {
        "width": 99, "betas": [0.9, 0.99], "batch_size": 16, "accumulate_grad_batches": 2
    }  # fmt: skip


class Kind(Enum):
    """A choice of the user's."""

    FAST = 1


def cyclic() -> dict[str, Any]:
    """A mapping that holds itself."""
    values: dict[str, Any] = {"inside": 1}
    values["again"] = {"deeper": values}
    return values


class Free(Module):
    """A module whose hyperparameters are those that it is given."""

    def __init__(self, task: Any, cfg: Any) -> None:
        super().__init__(task)
        self.save_hyperparameters({"cfg": cfg})


NESTED = {
    "lr": np.float32(0.5),
    "path": Path("/data"),
    "kind": Kind.FAST,
    "dtype": torch.float16,
    "function": print,
    "deep": argparse.Namespace(width=3, tensor=torch.ones(2)),
    "mixed": [1, print],
    "api_key": "sk-1",
    "hf_token": ["hf_1"],
    "max_token": 512,
    "store": "https://me:pass@host/x",
    "pass_through": True,
}
VALUES: dict[str, tuple[Callable[[], Any], Any]] = {
    "objects": (
        lambda: NESTED,
        {
            "lr": 0.5, "path": "/data", "kind": "FAST", "dtype": "torch.float16",
            "deep": {"width": 3}, "store": "https://host/x", "pass_through": True, "max_token": 512,
        },
    ),
    "not finite": (lambda: [float("nan"), float("-inf")], ["nan", "-inf"]),
    "a long text": (lambda: "x" * 2**25, None),
    "of LightningCLI": (lambda: {"_instantiator": "x", "width": 3}, {"width": 3}),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_hyperparameters_that_are_no_settings(digits, local, name: str) -> None:
    """What is no setting is left out, one by one; credentials, too, and the training goes on."""
    make, expected = VALUES[name]
    fit(Free(digits(**TASK), make()), LRTrack(tracker="local"))
    (history,) = local()

    assert history.steps.tolist() == list(range(4))
    assert expected == history.run.config.get("cfg")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (list(range(20_000)), "it is longer than 64 KiB"),
        (10**5000, "config"),
    ],
    ids=["data", "a large number"],
)
def test_hyperparameters_that_no_run_can_hold(digits, local, value: Any, reason: str) -> None:
    """A value that is too large is left out with a warning, and the training goes on."""
    with pytest.warns(LRTrackWarning, match=f"the run's config lacks 'cfg', because {reason}"):
        fit(Free(digits(**TASK), value), LRTrack(tracker="local"))
    (history,) = local()

    assert history.steps.tolist() == list(range(4))
    assert "cfg" not in history.run.config


def test_hyperparameters_that_hold_themselves(digits, local) -> None:
    """A mapping that holds itself is followed a few levels deep, and the training is recorded."""
    fit(Free(digits(**TASK), cyclic()), LRTrack(tracker="local"))
    (history,) = local()

    assert history.steps.tolist() == list(range(4))
    assert history.run.config["cfg"]["again"]["deeper"]["inside"] == 1


def loaders(kind: str, rows: Any) -> Any:
    """The task's batches in several forms."""
    data = TensorDataset(*rows)
    sampler = BatchSampler(SequentialSampler(data), 16, drop_last=False)
    return {
        "a batch sampler": DataLoader(data, batch_sampler=sampler),
        "equal loaders": {"a": DataLoader(data, 16), "b": DataLoader(data, 16)},
        "other loaders": {"a": DataLoader(data, 16), "b": [DataLoader(data, 8)]},
        "single rows": DataLoader(data, None),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("a batch sampler", 16),
        ("equal loaders", 16),
        ("other loaders", {"a": 16, "b.0": 8}),
        ("single rows", None),
    ],
)
def test_the_sizes_of_batches(digits, local, kind: str, expected: Any) -> None:
    """`batch_size` is that of the loader, its batch sampler or, if they differ, of each loader."""
    task = digits(**TASK)

    class Loading(Module):
        def train_dataloader(self) -> Any:
            return loaders(kind, task.rows)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            inputs, labels = batch["a"] if isinstance(batch, dict) else batch
            return self.task.loss(inputs, labels)

    module = Loading(task)
    task.loader = module.train_dataloader
    fit(module, limit_train_batches=4)

    assert expected == local()[0].run.config.get("batch_size")
