"""Journals delivered to MLflow's local store by a real shipper process."""

from __future__ import annotations

import json
import math
from pathlib import Path

import mlflow
import pyarrow.parquet as pq
import pytest
import torch

import lrtrack


def loop(optimizer, scheduler, weight, losses) -> None:
    """Records steps with the given losses."""
    for loss in losses:
        optimizer.zero_grad()
        (weight * 0.0 + loss).backward()
        optimizer.step()
        scheduler.step()


@pytest.fixture
def parts():
    """A model with one weight and a named schedule."""
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.5, momentum=0.25)
    return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5), weight


def values(client, run_id: str, name: str) -> list[tuple[int, float]]:
    """Returns a metric's history in MLflow, in stored order."""
    return [(metric.step, metric.value) for metric in client.get_metric_history(run_id, name)]


def test_a_run_arrives_as_the_contract_says(parts, store) -> None:
    """Metrics, tags, params, description, experiment kind and columnar file all arrive."""
    with lrtrack.track(
        *parts[:2], experiment="contract", seed=3, config={"data": {"name": "digits"}, "n": 5},
        tags={"team": "blue"}, group="g",
    ) as run:  # fmt: skip
        loop(*parts, [4.0, 3.0, 2.0, 1.0])
        run.log(val_loss=0.5)

    client = mlflow.MlflowClient(store)
    found = client.get_run(run.id)
    assert found.info.run_name == "StepLR-seed3"
    assert found.info.status == "FINISHED"
    assert values(client, run.id, "lr") == [(0, 0.5), (1, 0.5), (2, 0.25), (3, 0.25)]
    assert values(client, run.id, "loss") == [(0, 4.0), (1, 3.0), (2, 2.0), (3, 1.0)]
    assert values(client, run.id, "val_loss") == [(3, 0.5)]
    assert (found.data.metrics["loss_final"], found.data.metrics["loss_best"]) == (1.0, 1.0)
    tags = found.data.tags
    assert tags["lrtrack.version"] == lrtrack.__version__
    assert tags["lrtrack.device.type"] == "cpu"
    assert tags["lrtrack.device.name"] != ""
    assert tags["lrtrack.world_size"] == "1"
    assert tags["lrtrack.optimizer.name"] == "SGD"
    assert tags["lrtrack.scheduler.name"] == "StepLR"
    assert tags["lrtrack.scheduler.step_size"] == "2"
    assert tags["lrtrack.scheduler.gamma"] == "0.5"
    assert tags["lrtrack.scheduler.id"] == lrtrack.describe(parts[1]).id
    spec = json.loads(tags["lrtrack.scheduler.spec"])
    assert spec == {"name": "StepLR", "step_size": 2, "gamma": 0.5}
    assert tags["team"] == "blue"
    assert "StepLR(gamma=0.5, step_size=2)" in tags["mlflow.note.content"]
    assert "lrtrack compare --experiment contract" in tags["mlflow.note.content"]
    params = found.data.params
    assert params["scheduler"] == "StepLR"
    assert params["scheduler.step_size"] == "2"
    assert params["optimizer"] == "SGD"
    assert (params["optimizer.lr"], params["optimizer.momentum"]) == ("0.5", "0.25")
    assert (params["seed"], params["data.name"], params["n"]) == ("3", "digits", "5")
    experiment = client.get_experiment_by_name("contract")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    path = client.download_artifacts(run.id, "lrtrack/history.parquet")
    table = pq.read_table(path)
    assert table.schema.names == ["step", "time", "lr", "grad_norm", "loss", "val_loss"]
    assert [str(kind) for kind in table.schema.types] == ["int64"] + ["double"] * 5
    assert table["loss"].to_pylist() == [4.0, 3.0, 2.0, 1.0]
    assert table["val_loss"].to_pylist() == [None, None, None, 0.5]


def test_timestamps_say_when_the_step_ran(parts, store) -> None:
    """MLflow's timestamps are the times of the steps, not of the delivery."""
    with lrtrack.track(*parts[:2], experiment="x") as run:
        loop(*parts, [1.0, 2.0])

    client = mlflow.MlflowClient(store)
    table = pq.read_table(client.download_artifacts(run.id, "lrtrack/history.parquet"))
    stamps = [metric.timestamp for metric in client.get_metric_history(run.id, "loss")]
    assert stamps == [int(when * 1000) for when in table["time"].to_pylist()]


def test_nan_and_infinity_are_recorded(parts, store) -> None:
    """NaN stays NaN in MLflow, and infinities stay infinite in the columnar file."""
    with lrtrack.track(*parts[:2], experiment="x") as run:
        loop(*parts, [1.0, math.inf, math.nan])

    client = mlflow.MlflowClient(store)
    stored = [value for _, value in values(client, run.id, "loss")]
    table = pq.read_table(client.download_artifacts(run.id, "lrtrack/history.parquet"))
    assert stored[0] == 1.0
    assert math.isnan(stored[2])
    assert table["loss"].to_pylist()[:2] == [1.0, math.inf]
    assert math.isnan(table["loss"].to_pylist()[2])


def test_an_active_run_is_joined_and_left_open(parts, store) -> None:
    """Metrics join the user's active run, whose params, description and status stay theirs."""
    mlflow.set_experiment("users")
    with mlflow.start_run(description="my own words") as active:
        mlflow.log_param("scheduler", "my own")
        with lrtrack.track(*parts[:2], flush_timeout=60.0) as run:
            loop(*parts, [2.0, 1.0])
        status = mlflow.get_run(active.info.run_id).info.status

    found = mlflow.get_run(active.info.run_id)
    assert run.id == active.info.run_id
    assert status == "RUNNING"
    assert found.info.status == "FINISHED"
    assert found.data.params["scheduler"] == "my own"
    assert found.data.params["lrtrack.scheduler.gamma"] == "0.5"
    assert found.data.tags["mlflow.note.content"] == "my own words"
    assert found.data.metrics["loss"] == 1.0


def test_two_blocks_in_one_run_keep_both_histories(parts, store) -> None:
    """The columnar file of a run that two blocks share has the columns of both."""
    mlflow.set_experiment("users")
    with mlflow.start_run() as active:
        for prefix in ("g/", "d/"):
            with lrtrack.track(*parts[:2], prefix=prefix):
                loop(*parts, [2.0, 1.0])

    client = mlflow.MlflowClient(store)
    path = client.download_artifacts(active.info.run_id, "lrtrack/history.parquet")
    table = pq.read_table(path)
    assert table["g/loss"].to_pylist() == table["d/loss"].to_pylist() == [2.0, 1.0]


def test_more_than_one_request_holds(parts, store) -> None:
    """Runs beyond MLflow's limits of 1000 metrics and 100 params a request arrive complete."""
    config = {f"key{n}": n for n in range(230)}
    with lrtrack.track(*parts[:2], experiment="x", config=config, flush_timeout=30) as run:
        loop(*parts, [float(n) for n in range(2500)])

    client = mlflow.MlflowClient(store)
    assert values(client, run.id, "loss") == [(n, float(n)) for n in range(2500)]
    assert len([name for name in client.get_run(run.id).data.params if name[:3] == "key"]) == 230


def test_odd_names_and_long_values_do_not_stop_delivery(parts, store) -> None:
    """Names that MLflow would refuse are changed and long texts cut; nothing else is lost."""
    tags = {"weird\nkey": "v" * 9000}
    name = "../\x1b[31m\n" + "n" * 300
    with lrtrack.track(
        *parts[:2], experiment="x", name=name, tags=tags, config={"a?b": "p" * 7000}
    ) as run:
        loop(*parts, [1.0])
        run.log({"metric?!": 2.0})

    data = mlflow.MlflowClient(store).get_run(run.id).data
    assert data.metrics["metric__"] == 2.0
    assert len(data.tags["weird_key"]) == 8000
    assert len(data.params["a_b"]) == 6000


def test_flush_brings_everything_so_far(parts, store) -> None:
    """After `run.flush()` all steps so far are in the store while the run continues."""
    client = mlflow.MlflowClient(store)
    with lrtrack.track(*parts[:2], experiment="x", flush_timeout=30) as run:
        loop(*parts, [2.0, 1.0])
        run.flush()
        before = values(client, run.id, "loss")
        status = client.get_run(run.id).info.status
        loop(*parts, [0.5])

    assert before == [(0, 2.0), (1, 1.0)]
    assert status == "RUNNING"
    assert values(client, run.id, "loss") == [(0, 2.0), (1, 1.0), (2, 0.5)]


def test_a_failed_block_fails_the_run(parts, store) -> None:
    """An exception in the block marks the run FAILED and keeps its steps."""
    with pytest.raises(KeyError), lrtrack.track(*parts[:2], experiment="x") as run:
        loop(*parts, [2.0])
        raise KeyError("mine")

    found = mlflow.MlflowClient(store).get_run(run.id)
    assert (found.info.status, found.data.metrics["loss"]) == ("FAILED", 2.0)


def test_one_shipper_serves_a_directory(parts, store, living_shippers) -> None:
    """Concurrent runs in one directory share one shipper process."""
    other = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)
    with (
        lrtrack.track(*parts[:2], experiment="x") as one,
        lrtrack.track(other, experiment="x") as two,
    ):
        loop(*parts, [1.0])
        ids = {one.id, two.id}
        alive = living_shippers()

    assert len(ids) == 2
    assert len(alive) == 1


def test_deliveries_follow_the_trainers_working_directory(parts, clean_place: Path, monkeypatch,
                                                          mlflow_database) -> None:  # fmt: skip
    """With shared journals, each run arrives in the default store of its own working directory."""
    import shutil

    monkeypatch.setenv("LRTRACK_DIR", str(clean_place / "journals"))
    ids = {}
    for name in ("one", "two"):
        folder = clean_place / name
        folder.mkdir()
        shutil.copy(mlflow_database, folder / "mlflow.db")
        monkeypatch.chdir(folder)
        with lrtrack.track(*parts[:2], experiment="x") as run:
            loop(*parts, [1.0])
        ids[name] = run.id

    for name, run_id in ids.items():
        client = mlflow.MlflowClient(f"sqlite:///{clean_place / name / 'mlflow.db'}")
        assert client.get_run(run_id).data.metrics["loss"] == 1.0
        assert (clean_place / name / "mlruns").is_dir()
