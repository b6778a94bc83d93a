"""Reports put into a real MLflow store, beside the runs that they are about."""

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
from lrtrack.trackers.memory import MemoryTracker

NOTE = "mlflow.note.content"


def runs(store: str) -> list[Any]:
    """All runs of the experiment `x`, the oldest first."""
    client = mlflow.MlflowClient(tracking_uri=store)
    (number,) = [e.experiment_id for e in client.search_experiments() if e.name == "x"]
    return client.search_runs([number], order_by=["attributes.start_time ASC"])


def artifact(store: str, run: Any, name: str) -> str:
    """The text of one of a run's artifacts."""
    client = mlflow.MlflowClient(tracking_uri=store)
    return Path(client.download_artifacts(run.info.run_id, name)).read_text()


def test_the_report_run(store, written):
    """Name, kind, description and files; it has no tag of a training, and no metric or param."""
    written(store, [1.0, 0.5], seed=0)
    comparison = lrtrack.compare("x", tracker="mlflow", tracking_uri=store)
    said: list[tuple[str, str]] = []
    done = publish(
        comparison, "mlflow", store, on_published=lambda name, run: said.append((name, run.id))
    )
    (report,) = [run for run in runs(store) if run.info.run_name == "lrtrack report"]

    assert said == [("mlflow", report.info.run_id)]
    assert done["mlflow"].id == report.info.run_id
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


def test_a_report_is_no_training(store, written):
    """Neither `compare` nor `runs` sees it, and the next report says the same."""
    run_id = written(store, [1.0, 0.5], seed=0)
    before = lrtrack.compare("x", tracker="mlflow", tracking_uri=store)
    publish(before, "mlflow", store)
    after = lrtrack.compare("x", tracker="mlflow", tracking_uri=store)

    assert after.to_dict() == before.to_dict()
    assert [history.id for history in fetch("x", tracker="mlflow", tracking_uri=store)] == [run_id]


def test_published_again(store, written):
    """The same run has the newest report; that of another metric stays beside it."""
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
    assert newest.headline in reports[0].data.tags[NOTE]


def test_a_metrics_name_leads_nowhere(store, written):
    """Files stay below the run, whatever the metric is called."""
    name = "../../val/<b>"
    written(store, [1.0], seed=0)
    client = mlflow.MlflowClient(tracking_uri=store)
    comparison = lrtrack.compare("x", tracker="mlflow", tracking_uri=store)
    object.__setattr__(comparison, "metric", name)
    done = publish(comparison, "mlflow", store)
    top = client.list_artifacts(done["mlflow"].id)

    assert [entry.path for entry in top] == ["_val_b_"]
    assert [entry.path for entry in client.list_artifacts(done["mlflow"].id, "_val_b_")] == [
        f"_val_b_/report.{suffix}" for suffix in ("csv", "html", "json", "md", "png")
    ]


def test_where_it_cannot_be_kept(store, written, clean_place):
    """The report is in the description, and a warning says why its files are not stored."""
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
    """The database's own words are the reason, and MLflow shows no traceback beside them."""
    written(store, [1.0], seed=0)
    comparison = lrtrack.compare("x", tracker="mlflow", tracking_uri=store)
    path = store.removeprefix("sqlite:///")
    with pytest.raises(TrackerError, match=r"attempt to write a readonly database$"):
        publish(comparison, "mlflow", f"sqlite:///file:{path}?mode=ro&uri=true")

    assert "Traceback" not in capfd.readouterr().err


def test_trackers_that_keep_no_reports(store, written):
    """Alone they are an error that says what to do; beside others they are left out."""
    with pytest.raises(UsageError, match=r"'local' and 'memory': mlflow and wandb"):
        publishers(["local", MemoryTracker()])

    assert [each.name for each in publishers("local,mlflow")] == ["mlflow"]


def test_an_experiment_that_is_gone(store, written):
    """What one tracker lacks is said with the nearest names."""
    written(store, [1.0], seed=0, experiment="y")
    comparison = lrtrack.compare("y", tracker="mlflow", tracking_uri=store)
    object.__setattr__(comparison, "experiment", "yy")
    with pytest.raises(TrackerError, match="Unknown experiment 'yy'"):
        publish(comparison, "mlflow", store)


@pytest.mark.parametrize(
    ("state", "told"),
    [(State.FINISHED, " 2 steps; final loss 0.5 (mean of the last 5 %), best 0.25."),
     (State.FAILED, " 2 steps, stopped early; final loss 0.5 (mean of the last 5 %), best 0.25."),
     (None, "")],
)  # fmt: skip
def test_descriptions_of_runs(store, written, state, told):
    """They say how the run ended once it has; `written` gives these run-level metrics."""
    run_id = written(store, [1.0, 0.5], seed=0, state=state)
    note = mlflow.MlflowClient(tracking_uri=store).get_run(run_id).data.tags[NOTE]

    assert note.startswith(f"**`StepLR(step_size=3)`** with `?` on cpu, seed 0.{told} Tracked by")


def test_a_description_that_somebody_wrote_stays(store, written):
    """Also where he wrote it while the run was going on."""
    run_id = written(store, [1.0, 0.5], state=None, id="f" * 32)
    client = mlflow.MlflowClient(tracking_uri=store)
    client.set_tag(run_id, NOTE, "mine")
    assert written(store, [1.0, 0.5], id="f" * 32) == run_id

    assert client.get_run(run_id).data.tags[NOTE] == "mine"
