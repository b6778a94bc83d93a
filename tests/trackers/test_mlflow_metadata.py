"""Tags, params and descriptions: names that MLflow accepts, and texts of a valid length."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_tag_name

from lrtrack.records import Run, State
from lrtrack.schedules import Schedule
from lrtrack.trackers.base import Publication
from lrtrack.trackers.mlflow import metadata
from lrtrack.trackers.mlflow.views import experiment_tags


@settings(max_examples=300)
@given(st.text(max_size=400) | st.text("./a", max_size=12))
def test_every_name_becomes_one_that_mlflow_accepts(name: str):
    """Any name of a param group or a config key becomes one that MLflow accepts."""
    key = metadata.key(name)

    _validate_metric_name(key)
    _validate_tag_name(key)
    assert len(key) <= 250


def test_names_that_mlflow_accepts_stay():
    """Names that MLflow accepts do not change."""
    for name in ("grad_norm/layer.0.weight", "lr/head", "loss", "a-b c:d"):
        assert metadata.key(name) == name


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
    """Names that MLflow would refuse as paths are normalized."""
    _validate_metric_name(metadata.key(name))

    assert metadata.key(name) == key


def test_nested_schedules_as_tags_and_params():
    """The parameters of a nested schedule have dotted names."""
    inner = [{"name": "LinearLR", "total_iters": 5}, {"name": "CosineAnnealingLR", "T_max": 9}]
    run = Run("1" * 32, "r", Schedule("SequentialLR", {"milestones": [5], "schedulers": inner}))
    tags, params = metadata.tags(run), metadata.params(run)

    assert tags["lrtrack.scheduler.name"] == "SequentialLR"
    assert tags["lrtrack.scheduler.schedulers.0.name"] == "LinearLR"
    assert tags["lrtrack.scheduler.schedulers.1.T_max"] == "9"
    assert tags["lrtrack.scheduler.milestones"] == "[5]"
    assert params["scheduler"] == "SequentialLR"
    assert params["scheduler.schedulers.0.total_iters"] == "5"


def test_config_keys_are_dotted_and_never_hide_those_of_lrtrack():
    """Config keys get dotted names, and lrtrack's params win if names collide."""
    config = {"model": {"depth": 3}, "seed": 99, "flag": True, "scheduler": "mine"}
    run = Run("1" * 32, "r", config=config, seed=1, diagnoses=(), outcome=State.FINISHED)

    assert metadata.params(run) == {
        "scheduler": "constant",
        "optimizer": "",
        "seed": "1",
        "model.depth": "3",
        "flag": "true",
    }


def test_a_schedule_that_may_still_change_is_no_param_yet():
    """Params of the schedule are written once it is certain: MLflow never changes a param."""
    found = Schedule("cosine", {"steps": 9}, "inferred")
    declared = Schedule("StepLR", {"step_size": 3})
    runs = [
        Run("1" * 32, "r", Schedule("constant")),
        Run("1" * 32, "r", found),
        Run("1" * 32, "r", declared),
        Run("1" * 32, "r", Schedule("constant"), diagnoses=(), outcome=State.FINISHED),
        Run("1" * 32, "r", found, diagnoses=(), outcome=State.FINISHED),
    ]

    params = [metadata.params(run).get("scheduler") for run in runs]

    assert params == [None, None, "StepLR", "constant", "cosine"]


def test_long_values_are_cut_to_mlflows_limits():
    """Long values are cut to MLflow's limits, so that the run is not refused."""
    run = Run("1" * 32, "r", config={"text": "x" * 10**6}, tags={"text": "y" * 10**6})

    assert len(metadata.params(run)["text"]) == 6000
    assert len(metadata.tags(run)["text"]) == 8000


@pytest.mark.parametrize("spec", ["", "{", "[]", "7", '{"name": 7}', '{"a": 1}'])
def test_hostile_specs_fall_back_to_the_name(spec: str):
    """A spec that cannot be parsed leaves a schedule with its name."""
    tags = {"lrtrack.scheduler.spec": spec, "lrtrack.scheduler.name": "StepLR"}

    assert metadata.schedule_from(tags) == Schedule("StepLR")
    assert metadata.schedule_from({}) == Schedule("constant")


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
    """A spec with extreme values still gives a schedule with an id."""
    tags = {"lrtrack.scheduler.spec": spec, "lrtrack.scheduler.name": "StepLR"}
    schedule = metadata.schedule_from(tags)

    assert schedule.label == label
    assert len(schedule.id) == 8


def test_schedules_too_long_for_a_tag_stay_different():
    """Two schedules that are cut to the same text keep different ids."""
    one, two = (Schedule("MultiStepLR", {"at": [*range(3000), end]}) for end in (4000, 5000))
    schedules = [
        metadata.schedule_from(metadata.tags(Run("1" * 32, "r", schedule)))
        for schedule in (one, two)
    ]

    assert [schedule.name for schedule in schedules] == ["MultiStepLR", "MultiStepLR"]
    assert [schedule.params for schedule in schedules] == [{"id": one.id}, {"id": two.id}]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"a": {"b": {"c": [1, {"d": 2}]}}}, {"a.b.c": '[1, {"d": 2}]'}),
        ({"a": {}, "b": []}, {"a": "{}", "b": "[]"}),
        ({"a": None, "b": 1e-5, "c": "text"}, {"a": "null", "b": "1e-05", "c": "text"}),
        ({"optimizer": {"lr": 3}, "scheduler": 1, "optimizer.lr": 2}, {}),
        ({"what?": 1, "é": 2}, {"what_": "1", "é": "2"}),
    ],
)
def test_config_keys(config: dict, expected: dict):
    """Nested config becomes dotted names with JSON values, except names of lrtrack."""
    run = Run("1" * 32, "r", optimizer={"name": "SGD", "lr": 0.5}, config=config)
    own = {"optimizer": "SGD", "optimizer.lr": "0.5"}

    assert metadata.params(run) == own | expected


def test_tags_and_params_of_every_kind_of_value():
    """Tags hold strings unchanged and other values as JSON."""
    params = {"flag": True, "none": None, "list": [30, 60], "rate": 1e-3, "text": "cos", "n": 3}
    tags = metadata.tags(Run("1" * 32, "r", Schedule("X", params)))

    assert {name: tags[f"lrtrack.scheduler.{name}"] for name in params} == {
        "flag": "true",
        "none": "null",
        "list": "[30, 60]",
        "rate": "0.001",
        "text": "cos",
        "n": "3",
    }
    assert metadata.schedule_from(tags) == Schedule("X", params)


def test_tags_of_the_user():
    """The user's tags stand beside those of lrtrack."""
    tags = metadata.tags(Run("1" * 32, "r", tags={"team": "blue"}, group="g", prefix="d/", seed=3))

    assert tags["lrtrack.schedule"] == f"constant {Schedule('constant').id}"
    assert (tags["team"], tags["lrtrack.group"], tags["lrtrack.prefix"]) == ("blue", "g", "d/")
    assert tags["lrtrack.world_size"] == "1"
    assert tags["lrtrack.scheduler.name"] == "constant"


def test_the_description():
    """The description names schedule, optimizer, device, seed and how the run ended."""
    run = Run(
        "1" * 32, "r", Schedule("StepLR", {"step_size": 3}), {"name": "SGD", "lr": 0.5},
        experiment="digits", device_type="cuda", device_name="NVIDIA H100", seed=4, version="1.0",
    )  # fmt: skip
    ended = metadata.outcome(444, State.FINISHED, 0.0123456, 1e-9)

    assert metadata.note(run, ended) == (
        "**`StepLR(step_size=3)`** with `SGD(lr=0.5)` on NVIDIA H100, seed 4. 444 steps; final "
        "loss 0.01235 (mean of the last 5 %), best 1e-09. Tracked by "
        "[lrtrack](https://pypi.org/project/lrtrack/) 1.0; compare the schedules of this "
        "experiment with `lrtrack compare --experiment digits`.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((1, State.FINISHED, None, None), " 1 step."),
        ((2, State.FAILED, None, None), " 2 steps, stopped early."),
        (
            (2, State.FAILED, float("nan"), 0.5),
            " 2 steps, stopped early; final loss nan (mean of the last 5 %), best 0.5.",
        ),
    ],
)
def test_how_a_run_ended(arguments: tuple, text: str):
    """The description says how the run ended, and lrtrack recognizes its own text."""
    run = Run("1" * 32, "r", seed=0)
    ended = metadata.outcome(*arguments)

    assert ended == text
    assert metadata.is_generated(metadata.note(run, ended), run)


@pytest.mark.parametrize("more", ["", "my words", " 3 steps, and a note."])
def test_edited_descriptions_are_the_users(more: str):
    """A description with any addition counts as the user's own."""
    run = Run("1" * 32, "r", seed=0)
    note = metadata.note(run)
    changed = (more, note + more, more + note, note.replace(", seed 0.", f", seed 0.{more}"))

    assert metadata.is_generated(note, run)
    assert [metadata.is_generated(text, run) for text in changed if text != note] == (
        [False] * (4 if more else 1)
    )


def test_the_description_cannot_be_broken_by_names():
    """Special characters in names are escaped in the description, whose length is limited."""
    run = Run(
        "1" * 32, "r", Schedule("A`|B"), experiment="it's; rm", device_name="x*y*\n<b>|[z](u)"
    )
    note = metadata.note(run)
    long = metadata.note(Run("1" * 32, "r", Schedule("M", {"at": [*range(10_000)]})))

    assert "**`A'|B`** with" in note
    assert r"x\*y\* &lt;b&gt;\|\[z\](u)." in note
    assert "`lrtrack compare --experiment 'it'\\''s; rm'`" in note
    assert note.count("\n") == 1
    assert len(long) < 8000


def test_the_note_of_a_report():
    """The description holds the report, or its headline if the report is too long."""
    fields = {"metric": "m", "folder": "m", "page": "", "files": {}}
    short = Publication(headline="A < B", markdown="# all of it\n", **fields)
    long = Publication(headline="A < B", markdown="x" * 9000, **fields)
    where = "\nThe report's files are among the artifacts, under `m`.\n"

    assert metadata.report_note(short) == f"# all of it\n{where}"
    assert metadata.report_note(long) == f"A &lt; B\n{where}"


def test_tags_of_a_new_experiment():
    """A new experiment gets its kind and two saved views, each within the limit of a tag."""
    tags = experiment_tags()
    views = [json.loads(tags[name]) for name in tags if "sharedViewState" in name]

    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert [view["name"] for view in views] == [
        "lrtrack: by final loss",
        "lrtrack: grouped by schedule",
    ]
    assert all(len(text) < 5000 for text in tags.values())
    assert json.loads(views[1]["state"])["groupBy"]["groupByKeys"] == [
        {"mode": "tag", "groupByData": "lrtrack.schedule"}
    ]
