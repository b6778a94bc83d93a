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
    """The URI of a store with the runs of all frameworks, made once."""
    folder = tmp_path_factory.mktemp("logged")
    shutil.copy(mlflow_database, folder / "mlflow.db")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    log(folder, "mlflow", "hand", "transformers", "lightning", MLFLOW_TRACKING_URI=uri)
    return uri


def rows_of(experiment: str, metric: str, **place: str) -> dict[str, tuple[int | None, ...]]:
    """The seeds of the runs of each schedule."""
    report = lrtrack.compare(experiment, metric=metric, **place)
    return {item.label: item.seeds for item in report.schedules}


@pytest.mark.parametrize(
    ("experiment", "labels", "seeds"),
    [
        ("hand", OWN, (0, 1, 2)),
        ("transformers", WARMED, (0, 1, 2)),
        ("lightning", OWN, (0, 1, 2)),
        ("autolog", OWN, (None, None, None)),
    ],
)
def test_two_schedules_by_three_seeds(clean_place, logged, experiment: str, labels, seeds):
    """Runs that others logged in MLflow make a row of three for each schedule."""
    found = rows_of(experiment, "loss", tracking_uri=logged)

    assert found == dict.fromkeys(labels, seeds)


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
def test_runs_of_accelerate(clean_place, store):
    """Runs of accelerate's MLflow tracker make a row of three for each schedule."""
    log(clean_place, "mlflow", "accelerate", MLFLOW_TRACKING_URI=store)

    assert rows_of("accelerate", "loss", tracking_uri=store) == dict.fromkeys(OWN, (0, 1, 2))
