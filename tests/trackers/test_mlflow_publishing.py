"""Reports stored in a real MLflow store, beside the runs that they compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import pytest

import lrtrack
from lrtrack.comparing import fetch, publish, publishers
from lrtrack.errors import LRTrackWarning, TrackerError, UsageError
from lrtrack.records import State
from lrtrack.reports.markdown import escape
from lrtrack.trackers.memory import MemoryTracker

NOTE = "mlflow.note.content"


def runs(store: str) -> list[Any]:
    """All runs of the experiment `x`, oldest first."""
    client = mlflow.MlflowClient(tracking_uri=store)
    (number,) = [e.experiment_id for e in client.search_experiments() if e.name == "x"]
    return client.search_runs([number], order_by=["attributes.start_time ASC"])


def artifact(store: str, run: Any, name: str) -> str:
    """The text of one of a run's artifacts."""
    client = mlflow.MlflowClient(tracking_uri=store)
    return Path(client.download_artifacts(run.info.run_id, name)).read_text()


def test_the_report_run(store, written):
    """The report's run has a name, a kind, a description and files, but no metrics or params."""
    written(store, [1.0, 0.5], seed=0)
    comparison = lrtrack.compare("x", tracker="mlflow", tracking_uri=store)
    published: list[tuple[str, str]] = []
    remotes = publish(
        comparison, "mlflow", store, on_published=lambda name, run: published.append((name, run.id))
    )
    (report,) = [run for run in runs(store) if run.info.run_name == "lrtrack report"]

    assert published == [("mlflow", report.info.run_id)]
    assert remotes["mlflow"].id == report.info.run_id
    assert report.info.status == "FINISHED"
    assert {k: v for k, v in report.data.tags.items() if k.startswith("lrtrack.")} == {
        "lrtrack.kind": "report"
    }
    assert (report.data.metrics, report.data.params) == ({}, {})
    assert comparison.headline in report.data.tags[NOTE]
    assert json.loads(artifact(store, report, "loss/report.json")) == comparison.to_dict()
    assert artifact(store, report, "loss/report.md") == comparison.to_markdown()
    assert artifact(store, report, "loss/report.csv") == comparison.to_csv()
    assert artifact(store, report, "loss/report.html") == comparison.to_html()


def test_a_report_is_not_a_training_run(store, written):
    """A published report is not read as a training run."""
    run_id = written(store, [1.0, 0.5], seed=0)
    before = lrtrack.compare("x", tracker="mlflow", tracking_uri=store)
    publish(before, "mlflow", store)
    after = lrtrack.compare("x", tracker="mlflow", tracking_uri=store)

    assert after.to_dict() == before.to_dict()
    assert [history.id for history in fetch("x", tracker="mlflow", tracking_uri=store)] == [run_id]


def test_published_again(store, written):
    """A second report replaces the first in the same run, and reports of other metrics stay."""
    written(store, [1.0, 0.5], seed=0)
    for metric in ("lr", "loss"):
        publish(lrtrack.compare("x", tracker="mlflow", tracking_uri=store, metric=metric),
                "mlflow", store)  # fmt: skip
    written(store, [1.0, 0.25], seed=1)
    newest = lrtrack.compare("x", tracker="mlflow", tracking_uri=store)
    publish(newest, "mlflow", store)
    reports = [run for run in runs(store) if "lrtrack.kind" in run.data.tags]

    assert len(reports) == 1
    assert json.loads(artifact(store, reports[0], "loss/report.json")) == newest.to_dict()
    assert json.loads(artifact(store, reports[0], "lr/report.json"))["metric"] == "lr"
    assert escape(newest.headline) in reports[0].data.tags[NOTE]


def test_a_metrics_name_leads_nowhere(store, written):
    """A metric's name cannot place files outside the run's artifacts."""
    name = "../../val/<b>"
    written(store, [1.0], seed=0)
    client = mlflow.MlflowClient(tracking_uri=store)
    comparison = lrtrack.compare("x", tracker="mlflow", tracking_uri=store)
    object.__setattr__(comparison, "metric", name)
    remotes = publish(comparison, "mlflow", store)
    top = client.list_artifacts(remotes["mlflow"].id)

    assert [entry.path for entry in top] == ["_val_b_"]
    assert [entry.path for entry in client.list_artifacts(remotes["mlflow"].id, "_val_b_")] == [
        f"_val_b_/report.{suffix}" for suffix in ("csv", "html", "json", "md", "png")
    ]


def test_files_that_cannot_be_stored(store, written, clean_place):
    """If files cannot be stored, the description has the report and a warning says why."""
    run_id = written(store, [1.0], seed=0, upload=False)
    comparison = lrtrack.compare("x", tracker="mlflow", tracking_uri=store)
    client = mlflow.MlflowClient(tracking_uri=store)
    folder = Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://")).parents[1]
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file, where MLflow wants a directory")
    with pytest.warns(LRTrackWarning, match="not stored: MLflow at sqlite:.*Not a directory"):
        remote = publish(comparison, "mlflow", store)["mlflow"]

    run = client.get_run(remote.id)
    assert run.info.status == "FINISHED"
    assert "could not be stored" in run.data.tags["mlflow.note.content"]


def test_a_store_that_may_only_be_read(store, written, capfd):
    """A read-only store is an error with the database's reason and without a traceback."""
    written(store, [1.0], seed=0)
    comparison = lrtrack.compare("x", tracker="mlflow", tracking_uri=store)
    path = store.removeprefix("sqlite:///")
    with pytest.raises(TrackerError, match=r"attempt to write a readonly database$"):
        publish(comparison, "mlflow", f"sqlite:///file:{path}?mode=ro&uri=true")

    assert "Traceback" not in capfd.readouterr().err


def test_trackers_that_store_no_reports(store, written):
    """Trackers that store no reports are an error alone, and are skipped beside others."""
    with pytest.raises(UsageError, match=r"'local' and 'memory': only mlflow and wandb"):
        publishers(["local", MemoryTracker()])

    assert [tracker.name for tracker in publishers("local,mlflow")] == ["mlflow"]


def test_an_experiment_that_is_gone(store, written):
    """A report for an unknown experiment is an error that names it."""
    written(store, [1.0], seed=0, experiment="y")
    comparison = lrtrack.compare("y", tracker="mlflow", tracking_uri=store)
    object.__setattr__(comparison, "experiment", "yy")
    with pytest.raises(TrackerError, match="Unknown experiment 'yy'"):
        publish(comparison, "mlflow", store)


@pytest.mark.parametrize(
    ("state", "outcome"),
    [(State.FINISHED, " 2 steps; final loss 0.5 (mean of the last 5 %), best 0.25."),
     (State.FAILED, " 2 steps, stopped early; final loss 0.5 (mean of the last 5 %), best 0.25."),
     (None, "")],
)  # fmt: skip
def test_descriptions_of_runs(store, written, state, outcome):
    """The description of a finished run says how it ended."""
    run_id = written(store, [1.0, 0.5], seed=0, state=state)
    note = mlflow.MlflowClient(tracking_uri=store).get_run(run_id).data.tags[NOTE]

    assert note.startswith(
        f"**`StepLR(step_size=3)`** with `?` on cpu, seed 0.{outcome} Tracked by"
    )


def test_a_description_of_the_user_stays(store, written):
    """A description that the user wrote during the run stays."""
    run_id = written(store, [1.0, 0.5], state=None, id="f" * 32)
    client = mlflow.MlflowClient(tracking_uri=store)
    client.set_tag(run_id, NOTE, "mine")
    assert written(store, [1.0, 0.5], id="f" * 32) == run_id

    assert client.get_run(run_id).data.tags[NOTE] == "mine"
