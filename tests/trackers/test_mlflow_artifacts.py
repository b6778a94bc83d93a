"""Where a run's columnar file is, without asking MLflow."""

from __future__ import annotations

from pathlib import Path

import pytest

from lrtrack.trackers.mlflow.stores.artifacts import local_file, served_path
from lrtrack.trackers.mlflow.stores.base import Unsure


def test_files_outside_of_a_runs_artifacts(clean_place: Path):
    """A columnar file is read from the run's own artifacts alone, whatever links say."""
    root, outside = clean_place / "artifacts", clean_place / "lrtrack"
    outside.mkdir()
    root.mkdir()
    (outside / "history.parquet").touch()
    (root / "lrtrack").symlink_to(outside)
    with pytest.raises(ValueError, match="not a file of the run's own"):
        local_file(str(root))
    (root / "lrtrack").unlink()
    (root / "lrtrack" / "history.parquet").mkdir(parents=True)
    with pytest.raises(ValueError, match="not a file of the run's own"):
        local_file(root.as_uri())
    with pytest.raises(FileNotFoundError):
        local_file(str(clean_place / "no such"))

    assert local_file(str(clean_place)) == outside / "history.parquet"
    assert local_file(clean_place.as_uri()) == outside / "history.parquet"


@pytest.mark.parametrize(
    "root", ["", "mlruns/0", "s3://bucket/x", "file://host/x", "file:///x?y", "//host/x", "/no%20x"]
)
def test_artifacts_that_only_the_client_finds(root):
    """Artifacts elsewhere, or at an address with several meanings, are left to the client."""
    with pytest.raises(Unsure):
        local_file(root)


def test_artifacts_that_a_server_passes_on():
    """The path on the server is that of the run, quoted."""
    path = served_path("mlflow-artifacts:/1/a b/artifacts")

    assert path == "/api/2.0/mlflow-artifacts/artifacts/1/a%20b/artifacts/lrtrack/history.parquet"


@pytest.mark.parametrize(
    "root",
    [
        *("mlflow-artifacts://other/1", "mlflow-artifacts:/a/../b", "mlflow-artifacts:/api/1"),
        *("mlflow-artifacts:/a%2fb", "mlflow-artifacts:/a?b", "s3://bucket/1"),
    ],
)
def test_artifacts_that_a_server_may_not_pass_on(root):
    """Artifacts of another server, or at an address with several meanings, are left to MLflow."""
    with pytest.raises(Unsure):
        served_path(root)
