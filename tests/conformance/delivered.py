"""Trains all cases, delivers their runs at once, and reads the trackers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from lrtrack.records import History
from lrtrack.schedules import Schedule
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker

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
        labels: tracker → run name → label of its schedule.
        trackers: those that any case's runs go to.
    """

    truths: dict[str, list[Truth]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    found: dict[str, dict[str, Points]] = field(default_factory=dict)
    told: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    trackers: set[str] = field(default_factory=set)

    def run(self, case: Case) -> None:
        """Runs a case's loop; a failure is reported by the case's own tests."""
        truth = Truth(case.name)
        truth.told = case.told
        torch.manual_seed(0)
        os.environ["LRTRACK_TRACKER"] = ",".join(case.trackers)
        self.trackers.update(case.trackers)
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
        for tracker in sorted(self.trackers):
            if tracker == "mlflow":
                runs = mlflow_runs(store)
                answers = of_mlflow(store, runs), told_in_mlflow(runs), labels_in_mlflow(runs)
            elif tracker == "wandb":
                answers = of_wandb(server), told_in_wandb(server), labels_in_wandb(server)
            else:
                answers = of_journals(journals())
            self.found[tracker], self.told[tracker], self.labels[tracker] = answers


def mlflow_runs(store: str) -> list[Any]:
    """Returns all runs of the experiment."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return list(client.search_runs([experiment.experiment_id], max_results=5000))


def of_mlflow(store: str, runs: list[Any]) -> dict[str, Points]:
    """Returns every point of every metric, through the metric API."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=store)
    runs_by_name: dict[str, Points] = {}
    for run in runs:
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


def told_in_mlflow(runs: list[Any]) -> dict[str, set[str]]:
    """Returns the codes in every run's tag; a run without a diagnosis has none."""
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


def labels_in_mlflow(runs: list[Any]) -> dict[str, str]:
    """Returns the label of every run's schedule, from the tag that describes it."""
    specs = {run.info.run_name: run.data.tags.get("lrtrack.scheduler.spec") for run in runs}
    return {name: Schedule.from_spec(spec).label for name, spec in specs.items() if spec}


def labels_in_wandb(server: Any) -> dict[str, str]:
    """Returns the label of every run's schedule, from the config that describes it."""
    runs = {run.name: run.config["lrtrack"].get("scheduler") for run in server.runs(PLACE)}
    return {name: Schedule.from_spec(data["spec"]).label for name, data in runs.items() if data}


def journals() -> dict[str, History]:
    """Returns the runs that no tracker gets, as their journals hold them."""
    query = Query(directory=Path(".lrtrack"), experiment=EXPERIMENT)
    return {
        history.run.name: history
        for history in LocalTracker().histories(query)
        if [target.tracker for target in history.run.targets] == [LocalTracker.name]
    }


def of_journals(
    runs: dict[str, History],
) -> tuple[dict[str, Points], dict[str, set[str]], dict[str, str]]:
    """Returns every run's points, the codes of its diagnoses, and its schedule's label."""
    points: dict[str, Points] = {}
    for run_name, history in runs.items():
        names = [name for name in history.metrics if not name.endswith(RUN_LEVEL)]
        series = {name: history.series(name) for name in names}
        points[run_name] = {
            name: dict(zip(steps.tolist(), values.tolist(), strict=True))
            for name, (steps, values) in series.items()
        }
    told = {name: {d["code"] for d in run.run.diagnoses or ()} for name, run in runs.items()}
    return points, told, {name: history.run.schedule.label for name, history in runs.items()}


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
            is_norm = any(word in name for word in ("grad_norm", "update_", "weight_norm"))
            rel = 1e-6 if is_norm else 0
            assert name not in into, f"two blocks of {truth.name!r} tell of {name}"
            into[name] = pytest.approx(values, rel=rel, abs=0, nan_ok=True)
    return runs


def chosen(items: Iterable[pytest.Item]) -> list[Case]:
    """Returns the cases of the selected tests, in the table's order."""
    specs = (getattr(item, "callspec", None) for item in items)
    cases = (spec.params.get("case") for spec in specs if spec is not None)
    named = {case.name: case for case in cases if isinstance(case, Case)}
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
