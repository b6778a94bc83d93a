"""What MLflow is given to show: names it accepts, texts it holds, nothing that breaks a table."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_tag_name

from lrtrack.records import Run
from lrtrack.schedules import Schedule
from lrtrack.trackers.mlflow import words


@settings(max_examples=300)
@given(st.text(max_size=400) | st.text("./a", max_size=12))
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


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("..", "__"),
        (".", "_"),
        ("./a", "_/a"),
        ("..a/..b", "__a/..b"),
        ("a/../b", "a/__/b"),
        ("a//b", "a/b"),
        ("/a/", "a"),
        ("//", "_"),
        ("", "_"),
        ("lr/" + "x" * 246 + "//", "lr/" + "x" * 246),
        ("layer.0/.weight..", "layer.0/.weight.."),
    ],
)
def test_names_that_look_like_paths(name: str, key: str):
    """MLflow takes names for paths, and would refuse the run over one that leads elsewhere."""
    _validate_metric_name(words.key(name))

    assert words.key(name) == key


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


@pytest.mark.parametrize(
    ("spec", "label"),
    [
        ('{"name":"A","x":NaN}', "A(x=nan)"),
        ('{"name":"A","x":1e999}', "A(x=inf)"),
        ('{"name":"A","x":' + "1" * 5000 + "}", "StepLR"),
        ('{"name":"","x":{"name":""}}', "(x=)"),
        ('{"name":"\\ud800"}', "StepLR"),
        ('{"name":"A","x":' + "[" * 3000 + "]" * 3000 + "}", "StepLR"),
        ('{"x":' * 1300 + "1" + "}" * 1300, "StepLR"),
    ],
)
def test_hostile_values(spec: str, label: str):
    """Numbers that JSON does not have, or Python refuses, end in a schedule with an id."""
    tags = {"lrtrack.scheduler.spec": spec, "lrtrack.scheduler.name": "StepLR"}
    schedule = words.schedule_from(tags)

    assert schedule.label == label
    assert len(schedule.id) == 8


def test_schedules_too_long_for_a_tag_stay_different():
    """Of two long lists of milestones MLflow keeps the beginnings; they are not one schedule."""
    one, two = (Schedule("MultiStepLR", {"at": [*range(3000), end]}) for end in (4000, 5000))
    found = [words.schedule_from(words.tags(Run("1" * 32, "r", each))) for each in (one, two)]

    assert [schedule.name for schedule in found] == ["MultiStepLR", "MultiStepLR"]
    assert [schedule.params for schedule in found] == [{"id": one.id}, {"id": two.id}]


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"a": {"b": {"c": [1, {"d": 2}]}}}, {"a.b.c": '[1, {"d": 2}]'}),
        ({"a": {}, "b": []}, {"a": "{}", "b": "[]"}),
        ({"a": None, "b": 1e-5, "c": "text"}, {"a": "null", "b": "1e-05", "c": "text"}),
        ({"optimizer": {"lr": 3}, "scheduler": 1, "optimizer.lr": 2}, {}),
        ({"what?": 1, "é": 2}, {"what_": "1", "é": "2"}),
    ],
)
def test_config_keys(config: dict, found: dict):
    """Inner mappings are dotted; lrtrack's own names are not to be had; values are JSON."""
    run = Run("1" * 32, "r", optimizer={"name": "SGD", "lr": 0.5}, config=config)
    own = {"scheduler": "constant", "optimizer": "SGD", "optimizer.lr": "0.5"}

    assert words.params(run) == own | found


def test_tags_and_params_of_every_kind_of_value():
    """Texts as they are, all else as Python writes JSON."""
    params = {"flag": True, "none": None, "list": [30, 60], "rate": 1e-3, "text": "cos", "n": 3}
    tags = words.tags(Run("1" * 32, "r", Schedule("X", params)))

    assert {name: tags[f"lrtrack.scheduler.{name}"] for name in params} == {
        "flag": "true",
        "none": "null",
        "list": "[30, 60]",
        "rate": "0.001",
        "text": "cos",
        "n": "3",
    }
    assert words.schedule_from(tags) == Schedule("X", params)


def test_users_tags_go_beside_ours():
    """What the user calls something is kept, also where it is a number."""
    tags = words.tags(Run("1" * 32, "r", tags={"team": "blue"}, group="g", prefix="d/", seed=3))

    assert (tags["team"], tags["lrtrack.group"], tags["lrtrack.prefix"]) == ("blue", "g", "d/")
    assert tags["lrtrack.world_size"] == "1"
    assert tags["lrtrack.scheduler.name"] == "constant"


def test_the_description_cannot_be_broken_by_names():
    """Pipes, backticks and quotes stay inside their cells and commands."""
    run = Run("1" * 32, "r", Schedule("A`|B"), experiment="it's; rm", device_name="x|y")
    note = words.note(run)

    assert "`A'\\|B`" in note
    assert "x\\|y" in note
    assert "--experiment 'it'\\''s; rm'" in note
