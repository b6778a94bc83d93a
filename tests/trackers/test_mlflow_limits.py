"""What MLflow refuses is said when the block begins: stores of plain files, long names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mlflow.utils.validation import _validate_metric_name

import lrtrack
from lrtrack.errors import TrackerError, UsageError
from lrtrack.trackers.mlflow import MlflowTracker, limits, metadata
from lrtrack.trackers.mlflow.errors import translate_errors
from lrtrack.trackers.mlflow.names import TAG, MetricNames


@pytest.fixture(autouse=True)
def recent(monkeypatch) -> None:
    """An MLflow that refuses stores of plain files."""
    monkeypatch.setattr(limits, "_may_refuse_files", lambda: True)


@pytest.mark.parametrize("uri", ["./mlruns", "runs", "/tmp/mlruns", "file:///tmp/mlruns", ""])
def test_a_store_of_files(uri: str, monkeypatch):
    """A store of plain files is refused with both fixes, unless MLflow's variable allows it."""
    with pytest.raises(UsageError, match="MLFLOW_ALLOW_FILE_STORE=true") as refusal:
        limits.check_store(uri)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    limits.check_store(uri)

    assert "sqlite:///mlflow.db" in str(refusal.value)


@pytest.mark.parametrize(
    "uri", [None, "sqlite:///x.db", "http://h:5000", "databricks", "databricks://me", "uc"]
)
def test_any_other_store(uri: str | None):
    """Databases, servers and Databricks are not stores of plain files; nor is the default."""
    limits.check_store(uri)


def test_the_former_default_store(clean_place: Path):
    """MLflow's default is the directory `mlruns` where that has experiments."""
    (clean_place / "mlruns" / "0").mkdir(parents=True)
    limits.check_store(None)
    (clean_place / "mlruns" / "0" / "meta.yaml").touch()

    with pytest.raises(UsageError, match="mlruns, which keeps runs in plain files"):
        limits.check_store(None)


def test_an_older_version(monkeypatch):
    """A version without the variable takes every store."""
    monkeypatch.setattr(limits, "_may_refuse_files", lambda: False)

    limits.check_store("./mlruns")


def test_the_refusal_comes_at_the_block(clean_place: Path, monkeypatch):
    """A block with such a store raises before any step, and writes nothing."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(clean_place / "mlruns"))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)

    with (
        pytest.raises(UsageError, match="MLflow refuses the store"),
        lrtrack.track(optimizer, tracker="mlflow"),
    ):
        pytest.fail("the block began")
    assert not (clean_place / ".lrtrack" / "queue").exists()


def test_names_that_are_too_long(monkeypatch):
    """The name of an experiment may have 500 characters, and W&B's projects have rules, too."""
    MlflowTracker().target("x" * 500)
    monkeypatch.setenv("WANDB_MODE", "offline")
    project = lrtrack.trackers.registry.get("wandb").target

    with pytest.raises(UsageError, match="has 501 characters, and MLflow takes at most 500"):
        MlflowTracker().target("x" * 501)
    with pytest.raises(UsageError, match="has 129 characters, and W&B takes at most 128"):
        project("team/" + "x" * 129)
    with pytest.raises(UsageError, match="'a#b:c' has '#:' in it"):
        project("a#b:c")
    assert project("team/" + "x" * 128).experiment == "team/" + "x" * 128


def test_what_mlflow_says_itself(clean_place: Path):
    """MLflow's own refusal, as a shipper of an older run meets it, is final and has the fixes."""
    from mlflow.exceptions import MlflowException

    long = "The filesystem is in maintenance mode. " * 20 + "set `MLFLOW_ALLOW_FILE_STORE=true`"
    with pytest.raises(TrackerError, match="keeps runs in plain files") as refusal:
        with translate_errors("./mlruns"):
            raise MlflowException(long, error_code=1000)  # INVALID_PARAMETER_VALUE

    assert str(refusal.value).endswith("or set MLFLOW_ALLOW_FILE_STORE=true")


def test_a_login_that_is_cut(monkeypatch):
    """A login at the place where a long message is cut does not survive in half."""
    from mlflow.exceptions import MlflowException

    text = "x" * 480 + " http://alice:S3CR3T-pass@host:5000/api"
    with pytest.raises(TrackerError) as error, translate_errors(None):
        raise MlflowException(text)

    assert "S3" not in str(error.value)


def test_different_metrics_stay_different():
    """Names that differ in characters that MLflow refuses, or after its limit, stay apart."""
    odd = ["acc@1", "acc#1", "acc_1", "acc$1", "a//b", "a/b", "x" * 300, "x" * 301]
    names = MetricNames()
    keys = [names.key(name) for name in odd]
    tags = names.news()
    names.noted()
    again = MetricNames()
    again.recall(tags, ["acc_1", "loss"])

    for name in keys:
        _validate_metric_name(name)
    assert len(set(keys)) == len(odd)
    assert keys[0] == "acc_1"
    assert (names.news(), [again.key(name) for name in reversed(odd)]) == ({}, keys[::-1])
    assert (again.key("loss"), again.news()) == ("loss", {})


def test_metrics_that_the_user_has_logged_already():
    """A name that the run has already, and not from lrtrack, is not taken."""
    names = MetricNames()
    names.recall({TAG: "torn {"}, ["acc_1"])

    assert names.key("acc_1") == "acc_1"
    assert names.key("acc@1") == "acc_1-71dfc1"


def test_more_odd_names_than_a_tag_holds():
    """Without room in the tag, a name has a hash, which is the same in later deliveries."""
    names = MetricNames()
    odd = [f"metric@{number}-{'x' * 80}" for number in range(60)]
    keys = [names.key(name) for name in odd]
    (tag,) = names.news().values()
    again = MetricNames()
    again.recall({TAG: tag}, keys)

    assert len(tag) < 5000
    assert [again.key(name) for name in odd] == keys


def test_params_get_a_hash_only_where_two_collide():
    """A single odd name keeps its short form; of two that collide, those changed get a hash."""
    alone, both = metadata.keyed({"what?": 1}), metadata.keyed({"what?": 1, "what!": 2, "ok": 3})

    assert alone == {"what_": 1}
    assert len(both) == 3
    assert both["ok"] == 3
