"""What MLflow is given to show: names it accepts, texts it holds, nothing that breaks a table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_tag_name

from lrtrack.records import Run
from lrtrack.schedules import Schedule
from lrtrack.trackers.mlflow import words


@given(st.text(max_size=400))
def test_every_name_becomes_one_that_mlflow_accepts(name: str):
    """Whatever a parameter group or a config key is called."""
    key = words.key(name)

    _validate_metric_name(key)
    _validate_tag_name(key)
    assert len(key) <= 250


def test_names_that_mlflow_accepts_stay():
    """The contract's own names are not touched."""
    for name in ("grad_norm/layer.0.weight", "lr/head", "loss", "a-b c:d"):
        assert words.key(name) == name


def test_nested_schedules_as_tags_and_params():
    """A schedule inside a schedule has dotted names."""
    inner = [{"name": "LinearLR", "total_iters": 5}, {"name": "CosineAnnealingLR", "T_max": 9}]
    run = Run("1" * 32, "r", Schedule("SequentialLR", {"milestones": [5], "schedulers": inner}))
    tags, params = words.tags(run), words.params(run)

    assert tags["lrtrack.scheduler.name"] == "SequentialLR"
    assert tags["lrtrack.scheduler.schedulers.0.name"] == "LinearLR"
    assert tags["lrtrack.scheduler.schedulers.1.T_max"] == "9"
    assert tags["lrtrack.scheduler.milestones"] == "[5]"
    assert params["scheduler"] == "SequentialLR"
    assert params["scheduler.schedulers.0.total_iters"] == "5"


def test_config_keys_are_dotted_and_never_hide_ours():
    """The user's config stands beside lrtrack's params, which go first."""
    run = Run("1" * 32, "r", config={"model": {"depth": 3}, "seed": 99, "flag": True}, seed=1)

    assert words.params(run) == {
        "scheduler": "constant",
        "optimizer": "",
        "seed": "1",
        "model.depth": "3",
        "flag": "true",
    }


def test_long_values_are_cut_to_mlflows_limits():
    """A param of a megabyte must not cost the whole run."""
    run = Run("1" * 32, "r", config={"text": "x" * 10**6}, tags={"text": "y" * 10**6})

    assert len(words.params(run)["text"]) == 6000
    assert len(words.tags(run)["text"]) == 8000


@pytest.mark.parametrize("spec", ["", "{", "[]", "7", '{"name": 7}', '{"a": 1}'])
def test_hostile_specs_fall_back_to_the_name(spec: str):
    """A tag that someone edited does not stop the report."""
    tags = {"lrtrack.scheduler.spec": spec, "lrtrack.scheduler.name": "StepLR"}

    assert words.schedule_from(tags) == Schedule("StepLR")
    assert words.schedule_from({}) == Schedule("constant")


def test_the_description_cannot_be_broken_by_names():
    """Pipes, backticks and quotes stay inside their cells and commands."""
    run = Run("1" * 32, "r", Schedule("A`|B"), experiment="it's; rm", device_name="x|y")
    note = words.note(run)

    assert "`A'\\|B`" in note
    assert "x\\|y" in note
    assert "--experiment 'it'\\''s; rm'" in note
