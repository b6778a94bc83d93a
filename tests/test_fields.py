"""Fields of a run: nested mappings flattened to dotted names, and the names that users write."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lrtrack.errors import UsageError
from lrtrack.fields import flatten, resolve
from lrtrack.records import History, Run, State
from lrtrack.schedules import Schedule

KNOWN = {
    "name", "seed", "state", "config.lr", "config.name", "tags.phase", "config.both", "tags.both",
    "scheduler.name", "optimizer.name", "device.type", "device.name",
}  # fmt: skip


def test_inner_mappings_have_dotted_names():
    """Inner mappings are joined by dots; an empty mapping and a list stay as values."""
    nested = {"model": {"depth": 2, "heads": {"n": 4}}, "none": {}, "sizes": [1, {"x": 2}], 3: "t"}

    assert flatten(nested) == {
        "model.depth": 2, "model.heads.n": 4, "none": {}, "sizes": [1, {"x": 2}], "3": "t",
    }  # fmt: skip


def test_lists_of_mappings_are_opened_on_request():
    """With `lists`, a list that holds mappings is opened by position, and other lists are not."""
    nested = {"schedulers": [{"name": "a"}, {"name": "b"}], "milestones": [1, 2]}

    assert flatten(nested, "scheduler.", lists=True) == {
        "scheduler.schedulers.0.name": "a",
        "scheduler.schedulers.1.name": "b",
        "scheduler.milestones": [1, 2],
    }


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("seed", "seed"),
        ("config.lr", "config.lr"),
        ("lr", "config.lr"),
        ("phase", "tags.phase"),
        ("name", "name"),
        ("scheduler", "scheduler.name"),
        ("optimizer", "optimizer.name"),
        ("device.type", "device.type"),
        ("depth", None),
    ],
)
def test_a_name_resolves_to_one_field(name, field):
    """The exact field comes first, then the config or the tags, whichever has the name."""
    assert resolve(name, KNOWN) == field


@pytest.mark.parametrize(
    ("name", "fields"),
    [("both", "config.both or tags.both"), ("device", "device.type or device.name")],
)
def test_a_name_with_two_meanings_is_refused(name, fields):
    """A name that could mean two fields is an error that names both."""
    with pytest.raises(UsageError, match=f"'{name}' is ambiguous. Fix: write {fields} instead"):
        resolve(name, KNOWN)


def test_a_history_has_the_fields_of_its_run_and_its_state():
    """A history's fields are flat, typed, complete, and without those that are not known."""
    run = Run(
        "a" * 32, "first", Schedule("StepLR", {"step_size": 30}), {"name": "SGD", "lr": 0.1},
        experiment="x", seed=3, config={"model": {"depth": 2}}, tags={"phase": "warm"},
        device_type="cuda", device_name="H200", torch_version="2.9.1", started=5.0,
    )  # fmt: skip
    steps, times = np.array([], dtype=np.int64), np.array([])
    history = History(run, State.FINISHED, "mlflow", steps, times, {}, {}, remote_id="7")

    assert history.fields() == {
        "run_id": "7", "name": "first", "schedule": "StepLR", "seed": 3, "experiment": "x",
        "kind": "train", "device.type": "cuda", "device.name": "H200", "world_size": 1,
        "torch.version": "2.9.1",
        "started": 5.0, "state": "FINISHED", "tracker": "mlflow",
        "scheduler.name": "StepLR", "scheduler.step_size": 30, "scheduler.id": run.schedule.id,
        "optimizer.name": "SGD", "optimizer.lr": 0.1, "config.model.depth": 2,
        "tags.phase": "warm",
    }  # fmt: skip
    assert run.fields()["run_id"] == "a" * 32
    assert math.isclose(history.fields()["optimizer.lr"], 0.1)
