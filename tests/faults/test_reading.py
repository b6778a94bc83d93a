"""Reading runs from a server in trouble gives the whole report or a clear error."""

from __future__ import annotations

import json

import pytest

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
