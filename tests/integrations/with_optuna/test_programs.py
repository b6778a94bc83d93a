"""Studies whose trials are runs in MLflow, of several processes, and the example."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import optuna
import pytest
import torch
from fixtures.programs import report_of

from lrtrack.integrations.optuna import track

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def quiet() -> None:
    """Silences Optuna's line for each trial."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)


WORKER = """
import sys, optuna, torch, lrtrack
from lrtrack.integrations.optuna import prune, suggest_schedule, track

def objective(trial):
    weight = torch.nn.Parameter(torch.ones(()))
    opt = torch.optim.SGD([weight], lr=0.1)
    spec = suggest_schedule(trial, ["onecycle(max_lr=0.01..0.3 log)", "cosine"])
    sched = lrtrack.scheduler(opt, spec, total_steps=5)
    with track(trial, opt, sched, experiment="both") as run:
        for _ in range(5):
            opt.zero_grad(); (weight * weight).backward(); opt.step(); sched.step()
            prune(trial, run, every=5)
    return run.loss()

optuna.load_study(study_name="s", storage=sys.argv[1]).optimize(objective, n_trials=3)
"""


def test_several_machines_work_on_one_study(store, command_line, clean_place) -> None:
    """Two processes on one storage: every trial has its run, all in one experiment."""
    storage = f"sqlite:///{clean_place / 'optuna.db'}"
    study = optuna.create_study(study_name="s", storage=storage)
    command = [sys.executable, "-P", "-c", WORKER, storage]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=300)[1] for process in both]
    listed = json.loads(command_line("runs", "--experiment", "both", "--format", "json").stdout)

    assert [process.returncode for process in both] == [0, 0], outputs
    trials = study.get_trials()
    assert sorted(row["name"] for row in listed["runs"]) == [f"trial-{n}" for n in range(6)]
    assert {row["tracker_id"] for row in listed["runs"]} == {
        t.user_attrs["lrtrack_run_id"] for t in trials
    }
    assert {row["state"] for row in listed["runs"]} <= {"FINISHED", "FAILED"}


def test_the_example(store, command_line) -> None:
    """The example trains, and the command that it prints compares its runs."""
    example = ROOT / "examples" / "with_optuna.py"
    process = subprocess.run(
        [sys.executable, "-P", str(example)], capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, process.stderr
    report = report_of(example, command_line)

    assert sum(row["runs"] for row in report["schedules"]) == 8
    assert len(example.read_text().splitlines()) <= 60


def test_trials_are_children_of_the_open_run(store, command_line, monkeypatch) -> None:
    """Trials are nested runs of the open MLflow run, which stays as it was."""
    monkeypatch.setenv("LRTRACK_SHIPPER_IDLE", "3")  # the next trial finds the same shipper
    study = optuna.create_study(study_name="s", sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: optuna.Trial) -> float:
        weight = torch.nn.Parameter(torch.ones(()))
        optimizer = torch.optim.SGD([weight], lr=trial.suggest_float("lr", 0.1, 0.5))
        with track(trial, optimizer, flush_timeout=60.0) as run:
            for step in range(3 + trial.number):
                optimizer.zero_grad()
                (weight * 0.0 + float(step)).backward()
                optimizer.step()
        return run.loss() or 0.0

    mlflow.set_tracking_uri(store)
    try:
        mlflow.set_experiment("both")
        with mlflow.start_run(run_name="study") as parent:
            study.optimize(objective, n_trials=2)
            mlflow.log_params({"lr": 1, "seed": 2, "optimizer": "mine"})
    finally:
        mlflow.set_tracking_uri(None)
    listed = json.loads(command_line("runs", "--experiment", "both", "--format", "json").stdout)
    compare = command_line("compare", "--experiment", "both", "--format", "json")
    client = mlflow.MlflowClient(store)
    children = [client.get_run(trial.user_attrs["lrtrack_run_id"]) for trial in study.trials]

    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert [run.info.status for run in children] == ["FINISHED", "FINISHED"]
    assert not [tag for tag in client.get_run(parent.info.run_id).data.tags if "lrtrack" in tag]
    assert sorted((row["name"], row["steps"]) for row in listed["runs"]) == [
        ("trial-0", 3),
        ("trial-1", 4),
    ]
    assert compare.returncode == 0, compare.stderr
    assert [row["runs"] for row in json.loads(compare.stdout)["schedules"]] == [2]
