"""Metrics that a module logs under the names of those that LRTrack records."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import mlflow
import pytest
from lightning.pytorch.loggers import MLFlowLogger

from lrtrack.errors import LRTrackWarning
from lrtrack.integrations.lightning import LRTrack

from .modules import NOISE, Adversaries, Module, fit

pytestmark = NOISE


@pytest.fixture
def logger(store: str) -> Iterator[Any]:
    """An MLflow logger on a store of its own."""
    yield MLFlowLogger("digits", tracking_uri=store)
    mlflow.set_tracking_uri(None)  # the logger sets it for the whole process


class Logging(Module):
    """A module that logs a metric, and notes at which batches it was told of a warning.

    Args:
        name: the metric's name.
        **options: of `self.log()`.
    """

    def __init__(self, task: Any, name: str, **options: Any) -> None:
        super().__init__(task)
        self.name, self.options = name, options
        self.warned_by: list[int] = []
        self.caught: list[Any] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Logs the metric."""
        self.warned_by.append(sum(issubclass(w.category, LRTrackWarning) for w in self.caught))
        self.log(self.name, 1.0, **self.options)
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize(
    ("name", "options", "shared"),
    [
        ("lr", {}, "lr"),
        ("loss", {"on_step": False, "on_epoch": True}, "loss"),
        ("update_norm", {}, "update_norm"),
        ("lr", {"on_step": True, "on_epoch": True}, None),
        ("lr", {"logger": False}, None),
        ("lrtrack/lr", {}, None),
    ],
)
def test_a_shared_name_is_reported_after_the_first_batch(
    digits, logger, name: str, options: dict[str, Any], shared: str | None
) -> None:
    """A name with two series in one run is reported once, after the first of the batches."""
    module = Logging(digits(steps=4), name, **options)
    with warnings.catch_warnings(record=True) as module.caught:
        warnings.simplefilter("always", LRTrackWarning)
        fit(module, LRTrack(flush_timeout=0.0), logger=logger)
    told = [str(w.message) for w in module.caught if "two series" in str(w.message)]

    assert module.warned_by == ([0, 1, 1, 1] if shared else [0] * 4)
    assert [f": {shared} is logged" in text for text in told] == ([True] if shared else [])


class Both(Adversaries):
    """Two optimizers in a module that logs a metric of its own."""

    name = "lr"

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Logs it."""
        super().training_step(batch, batch_idx)
        self.log(self.name, 1.0)


@pytest.mark.parametrize(("name", "count"), [("lr", 0), ("critic/lr", 1)])
def test_the_names_of_several_optimizers(digits, logger, name: str, count: int) -> None:
    """Of several optimizers, the names with their prefixes count, and no others."""
    module = Both(digits(steps=2))
    module.name = name
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", LRTrackWarning)
        fit(module, LRTrack(flush_timeout=0.0), logger=logger)

    assert len([w for w in caught if "two series" in str(w.message)]) == count


def test_a_prefix_keeps_both_series(digits, logger) -> None:
    """With a prefix, the module's metric and the recorded one have each their own points."""
    module = Logging(digits(steps=4), "lr")
    fit(module, LRTrack(flush_timeout=300.0, prefix="lrtrack/"), logger=logger, log_every_n_steps=2)
    history = logger.experiment.get_metric_history
    mine, recorded = (history(logger.run_id, name) for name in ("lr", "lrtrack/lr"))

    assert [(point.step, point.value) for point in mine] == [(1, 1.0), (3, 1.0)]
    assert [point.step for point in recorded] == [0, 1, 2, 3]
