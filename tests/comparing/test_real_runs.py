"""Runs that popular frameworks logged by themselves, compared without lrtrack in the training."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import lrtrack

PROGRAM = Path(__file__).parent / "own_logging.py"
OWN = {"≈ cosine(steps=12)", "≈ step(steps=4)"}
WARMED = {
    "≈ warmup(start=0, steps=4) → cosine(steps=8)",
    "≈ warmup(start=0, steps=4) → linear(end=0, start=1, steps=8)",
}


def log(folder: Path, *arguments: str, **environment: str) -> None:
    """Run the trainings in a process of their own."""
    for name in ("lightning", "transformers", "accelerate"):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    done = subprocess.run(
        [sys.executable, "-P", str(PROGRAM), *arguments],
        env={**os.environ, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> str:
    """The URI of a store with runs that were logged by hand and by transformers, made once."""
    folder = tmp_path_factory.mktemp("logged")
    shutil.copy(mlflow_database, folder / "mlflow.db")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    log(folder, "mlflow", "hand", "transformers", MLFLOW_TRACKING_URI=uri)
    return uri


def rows_of(experiment: str, metric: str, **place: str) -> dict[str, tuple[int | None, ...]]:
    """The seeds of the runs of each schedule."""
    report = lrtrack.compare(experiment, metric=metric, **place)
    return {item.label: item.seeds for item in report.schedules}


@pytest.mark.parametrize(("experiment", "labels"), [("hand", OWN), ("transformers", WARMED)])
def test_two_schedules_by_three_seeds(clean_place, logged, experiment: str, labels: set[str]):
    """Runs that others logged in MLflow make a row of three for each schedule."""
    assert rows_of(experiment, "loss", tracking_uri=logged) == dict.fromkeys(labels, (0, 1, 2))


@pytest.mark.soak
def test_runs_of_wandb(clean_place, wandb_server):
    """Runs that others logged in W&B make a row of three for each schedule."""
    log(clean_place, "wandb", "hand", "transformers", "accelerate", "lightning")
    for experiment, labels, metric in [
        ("hand", OWN, "loss"),
        ("transformers", WARMED, "train/loss"),
        ("accelerate", OWN, "loss"),
        ("lightning", OWN, "loss"),
    ]:
        assert rows_of(experiment, metric, tracker="wandb") == dict.fromkeys(labels, (0, 1, 2))


@pytest.mark.soak
def test_other_loggers_of_mlflow(clean_place, store):
    """Runs of accelerate, Lightning's logger and autolog make a row of three for each schedule."""
    log(clean_place, "mlflow", "accelerate", "lightning", MLFLOW_TRACKING_URI=store)
    for experiment, seeds in [
        ("accelerate", (0, 1, 2)),
        ("lightning", (0, 1, 2)),
        ("autolog", (None, None, None)),  # it logs no seed
    ]:
        assert rows_of(experiment, "loss", tracking_uri=store) == dict.fromkeys(OWN, seeds)
