"""Artifact stores that refuse the columnar file: the run still ends, with its losses."""

from __future__ import annotations

import importlib.util
import math

import mlflow
import pytest

import lrtrack
from lrtrack.errors import LRTrackWarning

from .trainer import truth
from .training import train

STEPS = 30
FILE = "lrtrack/history.parquet"


@pytest.fixture(autouse=True)
def first_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this process forget which refusals it has reported."""
    monkeypatch.setattr("lrtrack.tracking.upload_monitor._reported", set())


def ended_well(delivered) -> None:
    """Asserts that the only run is finished, with every step and its final losses."""
    run = delivered.only()
    assert run.info.status == "FINISHED"
    assert delivered.losses() == truth(STEPS)
    assert run.data.metrics["loss_best"] == min(loss for _, loss in truth(STEPS))
    assert "lrtrack.diagnoses" in run.data.tags
    assert f"{STEPS} steps" in run.data.tags["mlflow.note.content"]


@pytest.mark.parametrize(
    ("answer", "times", "uploads", "said"),
    [
        pytest.param(403, math.inf, 1, "credentials that may do this", marks=pytest.mark.soak),
        (413, math.inf, 1, "client_max_body_size"),
        (503, math.inf, 3, "503"),
    ],
)
def test_a_server_that_refuses_files(
    served, proxy, stored, command_line, monkeypatch, answer, times, uploads, said
):
    """A server that refuses files causes one warning with a fix, and the run is complete without
    them.
    """
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
    proxy.hurt("mlflow-artifacts", times=times, status=answer)
    with pytest.warns(LRTrackWarning, match=f"without {FILE}") as caught:
        train(STEPS, flush_timeout=60)
    doctor = command_line("doctor")
    sync = command_line("sync")

    ended_well(stored(served.uri))
    assert [said in str(warning.message) for warning in caught] == [True]
    assert len(proxy.asked("mlflow-artifacts")) == uploads
    assert f"1 run without {FILE}" in doctor.stdout
    assert (sync.returncode, doctor.returncode) == (0, 0), (sync.stderr, doctor.stdout)
    compared = lrtrack.compare("faults", tracker="mlflow", tracking_uri=served.uri)
    assert [summary.runs for summary in compared.schedules] == [1]


def test_a_server_that_refuses_files_for_a_moment(served, proxy, stored, monkeypatch):
    """A file that is accepted at the second attempt is stored, without a warning."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
    proxy.hurt("mlflow-artifacts", status=503)
    train(STEPS, flush_timeout=60)

    delivered = stored(served.uri)
    ended_well(delivered)
    assert delivered.only().data.tags["lrtrack.history.rows"] == str(STEPS)


@pytest.mark.parametrize(
    ("root", "said"),
    [
        ("s3://bucket/path", "Fix: pip install boto3"),
        ("/proc/none", "Fix: start the server with --serve-artifacts"),
    ],
)
def test_a_place_that_this_machine_cannot_write(served, proxy, stored, monkeypatch, root, said):
    """An artifact store without client support causes one warning with a fix, and none for later
    runs.
    """
    if root.startswith("s3:") and importlib.util.find_spec("boto3") is not None:
        pytest.skip("boto3 is installed here")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", served.uri)
    mlflow.MlflowClient(served.uri).create_experiment("faults", artifact_location=root)
    with pytest.warns(LRTrackWarning) as caught:
        train(STEPS, flush_timeout=60)
        train(STEPS, seed=1, flush_timeout=60)

    assert [said in str(warning.message) for warning in caught] == [True]
    assert [run.info.status for run in stored(served.uri).runs()] == ["FINISHED"] * 2


def test_a_description_that_is_refused(served, proxy, stored, monkeypatch):
    """A run whose description is refused still ends with its losses."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
    proxy.hurt("runs/set-tag", math.inf, status=403, holding=b"mlflow.note.content")
    with pytest.warns(LRTrackWarning, match="without the outcome"):
        train(STEPS, flush_timeout=60)

    run = stored(served.uri).only()
    assert (run.info.status, run.data.metrics["loss_best"]) == (
        "FINISHED",
        min(loss for _, loss in truth(STEPS)),
    )
