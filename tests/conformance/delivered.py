"""Trains all cases, delivers their runs at once, and reads the trackers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from .cases import Case
from .truth import EXPERIMENT, RUN_LEVEL, Truth

#: The project of W&B's user on the loopback server.
PLACE = f"tester/{EXPERIMENT}"
#: MLflow's SQL store keeps infinities as the largest finite number.
_LARGEST = sys.float_info.max

Points = dict[str, dict[int, float]]


@dataclass
class Delivered:
    """What the loops expect, and what the trackers have.

    Attributes:
        truths: case name → its runs.
        failures: case name → why its loop failed.
        found: tracker → run name → metric → step → value.
        told: tracker → run name → codes of its diagnoses.
    """

    truths: dict[str, list[Truth]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    found: dict[str, dict[str, Points]] = field(default_factory=dict)
    told: dict[str, dict[str, set[str]]] = field(default_factory=dict)

    def run(self, case: Case) -> None:
        """Runs a case's loop; a failure is reported by the case's own tests."""
        truth = Truth(case.name)
        truth.told = case.told
        torch.manual_seed(0)
        os.environ["LRTRACK_TRACKER"] = ",".join(case.trackers)
        try:
            case.loop(truth)
        except (Exception, pytest.fail.Exception):
            self.failures[case.name] = traceback.format_exc()
        self.truths[case.name] = [truth, *truth.others]

    def deliver(self) -> None:
        """Delivers everything, with or without the help of a running shipper.

        `sync` makes one attempt at each run; on a busy machine W&B's client may need another.
        """
        code = "from lrtrack.cli import main; main(prog_name='lrtrack')"
        command = [sys.executable, "-P", "-c", code, "sync", "--timeout", "900"]
        for _ in range(5):
            sync = subprocess.run(command, capture_output=True, text=True)
            if sync.returncode == 0:
                return
        raise AssertionError(sync.stdout + sync.stderr)

    def ask(self, store: str, server: Any) -> None:
        """Reads back every run's own points, without the columnar file."""
        self.found = {"mlflow": of_mlflow(store), "wandb": of_wandb(server)}
        self.told = {"mlflow": told_in_mlflow(store), "wandb": told_in_wandb(server)}


def of_mlflow(store: str) -> dict[str, Points]:
    """Returns every point of every metric, through the metric API."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    runs_by_name: dict[str, Points] = {}
    for run in client.search_runs([experiment.experiment_id], max_results=5000):
        points = runs_by_name[_new(runs_by_name, run.info.run_name)] = {}
        for name in run.data.metrics:
            history = client.get_metric_history(run.info.run_id, name)
            pairs = [(point.step, _infinite(point.value)) for point in history]
            if not name.endswith(RUN_LEVEL):
                points[name] = _once(name, pairs, run.data.tags.get("lrtrack.rewound"))
    return runs_by_name


def of_wandb(server: Any) -> dict[str, Points]:
    """Returns every row that lrtrack sent, as the server has it."""
    runs_by_name: dict[str, Points] = {}
    for run in server.runs(PLACE):
        pairs: dict[str, list[tuple[int, float]]] = {}
        for row in run.history:
            for name, value in row.items():
                if "lrtrack/step" in row and not name.startswith(("_", "lrtrack/")):
                    pairs.setdefault(name, []).append((row["lrtrack/step"], float(value)))
        runs_by_name[_new(runs_by_name, run.name)] = {
            n: _once(n, points, run.config["lrtrack"].get("rewound")) for n, points in pairs.items()
        }
    return runs_by_name


def told_in_mlflow(store: str) -> dict[str, set[str]]:
    """Returns the codes in every run's tag; a run without a diagnosis has none."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    runs = client.search_runs([experiment.experiment_id], max_results=5000)
    return {
        run.info.run_name: {
            diagnosis["code"]
            for diagnosis in json.loads(run.data.tags.get("lrtrack.diagnoses", "[]"))
        }
        for run in runs
    }


def told_in_wandb(server: Any) -> dict[str, set[str]]:
    """Returns the codes in every run's summary; a run without a diagnosis has none."""
    return {
        run.name: set(run.summary.get("lrtrack/diagnoses", "").split())
        for run in server.runs(PLACE)
    }


def expected(truths: Iterable[Truth]) -> dict[str, dict[str, Any]]:
    """Returns the expected values by run, each metric as exact as possible.

    Learning rates and losses are copied, so they are equal. A norm is a sum over squares in the
    gradients' own precision, which is the user's choice and 7 digits for float32: a sum of a few
    hundred numbers keeps about 1e-6 of them.
    """
    runs: dict[str, dict[str, Any]] = {}
    for truth in truths:
        into = runs.setdefault(truth.name, {})
        for name, values in truth.points.items():
            rel = 1e-6 if "grad_norm" in name else 0
            assert name not in into, f"two blocks of {truth.name!r} tell of {name}"
            into[name] = pytest.approx(values, rel=rel, abs=0, nan_ok=True)
    return runs


def chosen(items: Iterable[pytest.Item]) -> list[Case]:
    """Returns the cases of the selected tests, in the table's order."""
    cases = [getattr(item, "callspec", None) for item in items]
    named = {c.params["case"].name: c.params["case"] for c in cases if c and "case" in c.params}
    return list(named.values())


def _new(found: dict[str, Points], name: str) -> str:
    assert name not in found, f"the tracker has two runs called {name!r}"
    return name


def _once(name: str, pairs: list[tuple[int, float]], rewound: str | None) -> dict[int, float]:
    """Returns the points; only of steps that were abandoned and made again, the latest counts."""
    points = dict(pairs)
    spans = [span.split("-") for span in (rewound or "").split(", ") if span]
    again = {step for span in spans for step in range(int(span[0]), int(span[-1]) + 1)}
    counted = [step for step, _ in pairs if step not in again]
    assert len(counted) == len(points.keys() - again), f"{name} has a step twice: {pairs}"
    assert len(pairs) - len(counted) <= 2 * len(again), f"{name} has a step too often: {pairs}"
    return points


def _infinite(value: float) -> float:
    return float("inf") * (1 if value > 0 else -1) if abs(value) == _LARGEST else value
