"""The run of Lightning's own logger has lrtrack's steps beside what Lightning logs."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger

from lrtrack.integrations.lightning import LRTrack

from .modules import NOISE, Adversaries, Module, fit

pytestmark = NOISE


@pytest.fixture
def logger(store: str) -> Iterator[Any]:
    """An MLflow logger on a store of the test's own."""
    yield MLFlowLogger("digits", tracking_uri=store)
    mlflow.set_tracking_uri(None)  # the logger sets it for the whole process


def points(logger: Any, name: str) -> dict[int, float]:
    """What a metric of the logger's run has."""
    found = logger.experiment.get_metric_history(logger.run_id, name)
    assert len({point.step for point in found}) == len(found)
    return {point.step: point.value for point in found}


def test_beside_lightnings_own_monitor(digits, logger, local, steps_of) -> None:
    """It logs the rate alone, by default of each 50th step; both agree, and all is in one run."""
    fit(
        Module(digits(steps=100)),
        LRTrack(flush_timeout=300.0),
        logger=logger,
        callbacks=[LearningRateMonitor()],
    )
    (history,) = local()
    (run,) = logger.experiment.search_runs([logger.experiment_id])
    rates = points(logger, "lr")

    assert (run.info.run_id, run.info.status) == (logger.run_id, "FINISHED")
    assert points(logger, "lr-SGD") == {49: rates[49], 99: rates[99]}
    assert {name: len(points(logger, name)) for name in steps_of(history)} == {
        "grad_norm": 100, "loss": 100, "lr": 100, "momentum": 100
    }  # fmt: skip
    assert rates == steps_of(history)["lr"]
    assert set(run.data.metrics) - set(steps_of(history)) == {"lr-SGD", "loss_final", "loss_best"}
    assert run.data.tags["lrtrack.history.rows"] == "100"
    assert "`lrtrack compare --experiment digits`" in run.data.tags["mlflow.note.content"]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_with_accumulation_the_monitor_logs_each_batch(accumulate, digits, local, steps_of) -> None:
    """Under the number of the step to come, and asked for every step; lrtrack has a step once."""
    logger, monitor = CSVLogger("csv"), LearningRateMonitor("step", log_momentum=True)
    module = Module(digits(steps=6, batches=6 * accumulate))
    options = {"accumulate_grad_batches": accumulate, "log_every_n_steps": 1}
    fit(module, logger=logger, callbacks=[monitor], **options)
    rows = list(csv.DictReader((Path(logger.log_dir) / "metrics.csv").read_text().splitlines()))
    found = steps_of(local()[0])

    assert sorted(rows[0]) == ["lr-SGD", "lr-SGD-momentum", "step"]
    assert [int(row["step"]) for row in rows] == [s for s in range(6) for _ in range(accumulate)]
    for row in rows:
        assert float(row["lr-SGD"]) == found["lr"][int(row["step"])]
        assert float(row["lr-SGD-momentum"]) == found["momentum"][int(row["step"])]


def test_the_run_of_a_training_that_raises(digits, logger) -> None:
    """The logger says FAILED; what was recorded until then is there."""

    class Breaking(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if batch_idx == 3:
                raise RuntimeError("no more")
            return super().training_step(batch, batch_idx)

    with pytest.raises(RuntimeError, match="no more"):
        fit(Breaking(digits()), LRTrack(flush_timeout=300.0), logger=logger)

    assert logger.experiment.get_run(logger.run_id).info.status == "FAILED"
    assert sorted(points(logger, "loss")) == [0, 1, 2]


def test_two_optimizers_share_the_loggers_run(digits, logger) -> None:
    """With their prefixes, and the steps of each counted from 0."""
    module = Adversaries(digits(steps=3))
    fit(module, LRTrack(flush_timeout=300.0), logger=logger)
    (run,) = logger.experiment.search_runs([logger.experiment_id])

    for name, losses in module.losses.items():
        assert points(logger, f"{name}/loss") == dict(enumerate(losses))
    assert run.data.tags["lrtrack.history.rows"] == "3"


def test_a_tracker_that_is_asked_for_comes_first(digits, logger, local) -> None:
    """The logger's run is left alone."""
    fit(Module(digits(steps=2)), LRTrack(tracker="local"), logger=logger)

    assert logger.experiment.get_run(logger.run_id).data.metrics == {}
    assert [target.tracker for target in local()[0].run.targets] == ["local"]


def test_trainers_of_other_loggers_go_where_track_goes(digits, local, monkeypatch) -> None:
    """Here where a variable says, as Lightning's CSV files are no run to be joined."""
    monkeypatch.setenv("LRTRACK_TRACKER", "local")
    fit(Module(digits(steps=2)), LRTrack(experiment="mine"), logger=CSVLogger("csv"))
    (history,) = local()

    assert history.run.experiment == "mine"
