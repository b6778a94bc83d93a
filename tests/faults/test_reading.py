"""Reading runs from a server in trouble gives the whole report or a clear error."""

from __future__ import annotations

import json
import math

import mlflow
import numpy as np
import pytest
from mlflow.entities import Metric

from lrtrack.trackers.mlflow import points
from lrtrack.trackers.mlflow.errors import with_retries

from .training import train

STEPS = 30
FORMS = [("runs", "--format", "json"), ("compare", "--format", "json")]


@pytest.fixture(params=FORMS, ids=lambda form: form[0])
def report(request, served, proxy, monkeypatch, command_line):
    """Makes a report through the proxy, of two runs that were delivered without trouble."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", served.uri)
    for seed in (0, 1):
        train(STEPS, seed=seed, flush_timeout=300)
    command = [*request.param, "--experiment", "faults", "--tracking-uri", proxy.uri, "--no-cache"]
    return lambda: command_line(*command)


def figures(report: str) -> list[object]:
    """Returns the losses of a report; without the columnar file, times are in milliseconds."""
    data = json.loads(report)
    return [(row["final"], row["steps"]) for row in data.get("schedules", data["runs"])]


def test_a_report_does_not_mind_a_moment_of_trouble(report, proxy):
    """One refused or lost answer of each kind neither changes the report nor causes a message."""
    calm = report()
    proxy.hurt("experiments/get-by-name", status=429, headers={"Retry-After": "1"})
    proxy.hurt("runs/search", cut="amid")
    proxy.hurt("mlflow-artifacts", times=2, status=500)
    troubled = report()
    proxy.heal()
    proxy.hurt("mlflow-artifacts", times=float("inf"), status=404)
    proxy.hurt("metrics/get-history", times=2, cut="before")
    proxy.hurt("metrics/get-history", status=503, headers={"Retry-After": "1"})
    without_files = report()

    assert calm.returncode == 0, calm.stderr
    assert (troubled.returncode, troubled.stderr) == (0, "")
    assert json.loads(troubled.stdout) == json.loads(calm.stdout)
    assert without_files.returncode == 0, without_files.stderr
    assert "reading its metrics one by one" in without_files.stderr
    assert figures(without_files.stdout) == figures(calm.stdout) != []


@pytest.mark.parametrize(
    ("path", "what", "said"),
    [
        ("runs/search", {"status": 500, "body": "<html>"}, "answers 500 (Internal Server Error)"),
        ("runs/search", {"status": 429, "headers": {"Retry-After": "999"}}, "try again in 999 s"),
        ("experiments/get-by-name", {"status": 401}, "MLFLOW_TRACKING_USERNAME"),
        ("metrics/get-history", {"cut": "amid"}, "MLflow at http://127.0.0.1"),
    ],
)
def test_no_half_report(report, proxy, path, what, said):
    """A report that cannot be read completely is one line of explanation and exit status 1."""
    proxy.hurt("mlflow-artifacts", times=float("inf"), status=404)
    proxy.hurt(path, times=float("inf"), **what)
    process = report()

    last = process.stderr.splitlines()[-1]
    assert (process.returncode, process.stdout) == (1, "")
    assert last.startswith("Error: MLflow at ")
    assert said in last
    assert "Traceback" not in process.stderr


def test_points_of_a_server(served, proxy):
    """A server's answers are read as they are, in pages, and by MLflow's client if one is lost."""
    direct = mlflow.MlflowClient(tracking_uri=served.uri)
    run_id = direct.create_run("0").info.run_id
    losses = [1.0, math.nan, math.inf, -math.inf, 1 / 3]
    metrics = [Metric("a/b c", value, 1000 + step, step) for step, value in enumerate(losses)]
    direct.log_batch(run_id, metrics)
    found = []
    for lost in (0, 1):
        proxy.hurt("metrics/get-history", times=lost, status=500)
        with points.opened(mlflow.MlflowClient(tracking_uri=proxy.uri)) as reading:
            every = with_retries(proxy.uri, lambda: reading(run_id, ["a/b c"]))
        found.append(every["a/b c"])
        proxy.heal()

    for series in found:
        assert series.steps.tolist() == [0, 1, 2, 3, 4]
        assert series.times.tolist() == [1.0, 1.001, 1.002, 1.003, 1.004]
        assert np.array_equal(series.values, losses, equal_nan=True)


def test_pages_of_points(served, monkeypatch):
    """All pages of a metric's points are read."""
    monkeypatch.setattr(points, "PAGE", 2)
    client = mlflow.MlflowClient(tracking_uri=served.uri)
    run_id = client.create_run("0").info.run_id
    client.log_batch(run_id, [Metric("loss", step / 2, 1000, step) for step in range(5)])

    assert points._Server(client).read(run_id, ["loss"])["loss"].steps.tolist() == [0, 1, 2, 3, 4]
