"""The run of Lightning's own logger has lrtrack's steps beside what Lightning logs."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import mlflow
import pytest
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger

from lrtrack.integrations.lightning import LRTrack

from .modules import NOISE, QUIET, Adversaries, Module, fit

pytestmark = NOISE


@pytest.fixture
def logger(store: str) -> Iterator[Any]:
    """An MLflow logger on a store of its own."""
    yield MLFlowLogger("digits", tracking_uri=store)
    mlflow.set_tracking_uri(None)  # the logger sets it for the whole process


def points(logger: Any, name: str) -> dict[int, float]:
    """Returns the points of a metric in the logger's run."""
    history = logger.experiment.get_metric_history(logger.run_id, name)
    assert len({point.step for point in history}) == len(history)
    return {point.step: point.value for point in history}


def test_beside_lightnings_own_monitor(digits, logger, local, steps_of) -> None:
    """The LearningRateMonitor's rates, of each 50th step, agree with lrtrack's in the same run."""
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
    """With accumulation the monitor logs each batch at the next step's number; lrtrack logs it
    once.
    """
    logger, monitor = CSVLogger("csv"), LearningRateMonitor("step", log_momentum=True)
    module = Module(digits(steps=6, batches=6 * accumulate))
    options = {"accumulate_grad_batches": accumulate, "log_every_n_steps": 1}
    fit(module, logger=logger, callbacks=[monitor], **options)
    rows = list(csv.DictReader((Path(logger.log_dir) / "metrics.csv").read_text().splitlines()))
    steps = steps_of(local()[0])

    assert sorted(rows[0]) == ["lr-SGD", "lr-SGD-momentum", "step"]
    assert [int(row["step"]) for row in rows] == [s for s in range(6) for _ in range(accumulate)]
    for row in rows:
        assert float(row["lr-SGD"]) == steps["lr"][int(row["step"])]
        assert float(row["lr-SGD-momentum"]) == steps["momentum"][int(row["step"])]


def test_the_run_of_a_training_that_raises(digits, logger) -> None:
    """The run of a training that raises is FAILED by the logger, with everything recorded until
    then.
    """

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
    """Two optimizers share the logger's run under their prefixes, each counted from 0."""
    module = Adversaries(digits(steps=3))
    fit(module, LRTrack(flush_timeout=300.0), logger=logger)
    (run,) = logger.experiment.search_runs([logger.experiment_id])

    for name, losses in module.losses.items():
        assert points(logger, f"{name}/loss") == dict(enumerate(losses))
    assert run.data.tags["lrtrack.history.rows"] == "3"


def test_a_second_fit_of_another_module(digits, logger) -> None:
    """A second fit with another module is a child of the logger's run, which stays as it was."""
    trainer = lightning.Trainer(
        **{**QUIET, "logger": logger}, max_epochs=1, callbacks=[LRTrack(flush_timeout=300.0)]
    )
    for epochs, task in enumerate([digits(steps=3), digits(steps=2)], 1):
        trainer.fit_loop.max_epochs = epochs
        module = Module(task)
        trainer.fit(module, task.loader())
    runs = logger.experiment.search_runs([logger.experiment_id])
    steps = {
        run.data.tags.get("mlflow.parentRunId"): [
            point.step for point in logger.experiment.get_metric_history(run.info.run_id, "loss")
        ]
        for run in runs
    }

    assert steps == {None: [0, 1, 2], logger.run_id: [0, 1]}
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_a_tracker_that_is_asked_for_comes_first(digits, logger, local) -> None:
    """With a tracker named explicitly, the logger's run is left alone."""
    fit(Module(digits(steps=2)), LRTrack(tracker="local"), logger=logger)

    assert logger.experiment.get_run(logger.run_id).data.metrics == {}
    assert [target.tracker for target in local()[0].run.targets] == ["local"]


def test_trainers_of_other_loggers_go_where_track_goes(digits, local, monkeypatch) -> None:
    """With loggers that have no joinable run, the run goes where `track()` would put it."""
    monkeypatch.setenv("LRTRACK_TRACKER", "local")
    fit(Module(digits(steps=2)), LRTrack(experiment="mine"), logger=CSVLogger("csv"))
    (history,) = local()

    assert history.run.experiment == "mine"
