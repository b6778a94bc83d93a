"""Reports stored in a W&B project, beside the runs that they compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import lrtrack
from lrtrack.comparing import fetch, publish
from lrtrack.errors import TrackerError
from lrtrack.records import Run, StepRecord
from lrtrack.trackers.memory import MemoryTracker
from lrtrack.trackers.wandb import publishing


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a separate cache directory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def comparison(wandb_server: Any) -> Any:
    """Two tracked steps in the project `x`, read back from the server."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)
    with lrtrack.track(
        optimizer, tracker="wandb", experiment="x", seed=0, norms="off", flush_timeout=300.0
    ) as run:
        for loss in (1.0, 0.5):
            optimizer.step()
            run.log(loss=loss)
    return lrtrack.compare("x", tracker="wandb")


@pytest.fixture
def small() -> Any:
    """A comparison of one run of the project `x` that is not in W&B."""
    tracker = MemoryTracker()
    sink = tracker.sink(Run("a" * 32, "r"), tracker.target("x"), None)
    sink.open()
    sink.write([StepRecord(0, 1.0, {"loss": 0.5, "lr": 0.1})], doubt=False)
    return lrtrack.compare("x", tracker=tracker)


def report_run(server: Any) -> Any:
    """The project's run that stores reports."""
    (report,) = [run for run in server.runs("tester/x") if run.job_type == "report"]
    return report


def test_a_panel_and_files(wandb_server, comparison):
    """A report is an HTML panel with files, and is not read as a training run."""
    remote = publish(comparison, "wandb")["wandb"]
    report = report_run(wandb_server)
    (row,) = [row for row in report.history if "report/loss" in row]
    page = report.files[row["report/loss"]["path"]].decode()

    assert (report.name, report.id, report.state) == ("lrtrack report", remote.id, "finished")
    assert remote.url == f"{wandb_server.url}/tester/x/runs/{report.id}"
    assert report.notes == comparison.headline
    assert row["report/loss"]["_type"] == "html-file"
    assert page == comparison.to_html()
    assert json.loads(report.files["loss/report.json"]) == comparison.to_dict()
    assert report.files["loss/report.png"].startswith(b"\x89PNG")
    assert report.files["loss/report.md"].decode() == comparison.to_markdown()
    assert "lrtrack" not in report.config
    assert len(fetch("x", tracker="wandb")) == 1
    assert lrtrack.compare("x", tracker="wandb").to_dict() == comparison.to_dict()
    assert wandb_server.errors == []


def test_published_again(wandb_server, small):
    """A second report is added to the same run after the first one."""
    first = publish(small, "wandb")["wandb"]
    second = publish(small, "wandb")["wandb"]
    rows = [row for row in report_run(wandb_server).history if "report/loss" in row]

    assert second == first
    assert [row["_step"] for row in rows] == [0, 1]


def test_a_report_run_that_was_deleted(wandb_server, small):
    """If the report run was deleted, the report gets a run with the next id."""

    def gone(method: str, path: str, body: str) -> Any:
        text = "run tester/x/lrtrack-report was previously created and deleted"
        answer = {"errors": [{"message": text}], "data": {"upsertBucket": None}}
        return (409, {}, json.dumps(answer)) if '"name":"lrtrack-report"' in body else None

    wandb_server.fault = gone
    remote = publish(small, "wandb")["wandb"]

    assert remote.id == report_run(wandb_server).id == "lrtrack-report-2"


def test_without_the_right_to_write(wandb_server, small):
    """A server that refuses the report is an error with the reason, without long retries."""

    def refuse(method: str, path: str, body: str) -> Any:
        answer = {"errors": [{"message": "permission denied"}], "data": {"upsertBucket": None}}
        return (403, {}, json.dumps(answer)) if "UpsertBucket" in body else None

    wandb_server.fault = refuse
    with pytest.raises(TrackerError, match=r"Not published: W&B: .*permission denied"):
        publish(small, "wandb")

    assert wandb_server.runs("tester/x") == []


def test_a_server_that_is_away(wandb_server, small, monkeypatch):
    """A server that does not answer is an error after the time limit."""
    monkeypatch.setattr(publishing, "_TIMEOUT", 3.0)
    wandb_server.down()
    with pytest.raises(TrackerError, match="Not published: W&B has not answered for 3 s"):
        publish(small, "wandb")


def test_switched_off(wandb_server, small, monkeypatch):
    """Publishing to a disabled W&B is an error."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with pytest.raises(TrackerError, match="switched off"):
        publish(small, "wandb")

    assert wandb_server.operations() == []
