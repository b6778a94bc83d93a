"""Trackers are found by name, by object, or both."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lrtrack import trackers
from lrtrack.errors import UsageError
from lrtrack.trackers import hooks as optional
from lrtrack.trackers import registry
from lrtrack.trackers.local import LocalTracker
from lrtrack.trackers.memory import MemoryTracker

#: The optional protocols of trackers.
HOOKS = (
    optional.GuardsOpenRuns, optional.HasAccess, optional.HintsAtOpenRuns, optional.KnowsPhases,
    optional.LocatesRuns, optional.OnlyReads, optional.OpensChildRuns, optional.OpensSeparateRuns,
    optional.Publisher, optional.RenewsTargets, optional.TakesSharedUri,
)  # fmt: skip


@pytest.fixture
def plugin(clean_place: Path, monkeypatch: pytest.MonkeyPatch):
    """Install a package whose tracker `broken` cannot be imported, and whose `odd` is none."""
    info = clean_place / "someone-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: someone\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[lrtrack.trackers]\nbroken = someone_missing:Tracker\nodd = someone_odd:Odd\n"
        "tensorboard = someone_odd:Writer\n"
    )
    (clean_place / "someone_odd.py").write_text(
        "from lrtrack.trackers.memory import MemoryTracker as Writer\n"
        "class Odd:\n    name = 'odd'\n"
    )
    monkeypatch.syspath_prepend(str(clean_place))
    registry.get.cache_clear()
    yield
    registry.get.cache_clear()
    sys.modules.pop("someone_odd", None)


def test_built_in_trackers_are_registered():
    """The trackers that lrtrack ships are found by their entry points."""
    assert {"local", "mlflow", "tensorboard", "wandb"} <= set(registry.names())


@pytest.mark.parametrize("spec", ["local,mlflow", " local , mlflow ", ["local", "mlflow"]])
def test_several_trackers(spec):
    """Several trackers are one text with commas, or a list of names."""
    assert [tracker.name for tracker in registry.resolve(spec)] == ["local", "mlflow"]


def test_a_tracker_named_twice_is_one():
    """A tracker that is named twice receives each run once."""
    assert [tracker.name for tracker in registry.resolve(["local", "local,local"])] == ["local"]


def test_an_object_is_taken_as_it_is():
    """A tracker object is used as it is, and needs no entry point."""
    memory = MemoryTracker()

    assert registry.resolve([memory, "local"]) == [memory, registry.get("local")]


def test_two_objects_of_one_name_are_refused():
    """Two tracker objects of the same name are refused, as one of them would get nothing."""
    one, two = MemoryTracker(), MemoryTracker()

    assert registry.resolve([one, one]) == [one]
    with pytest.raises(UsageError, match="Two trackers are called 'memory'"):
        registry.resolve([one, two])


def test_a_portable_tracker_may_be_named_and_passed():
    """A portable tracker that is both named and passed as an object is one tracker."""
    local = LocalTracker()

    assert registry.resolve(["local", local]) == [registry.get("local")]


def test_an_unknown_name_says_what_exists():
    """The error for an unknown name offers the nearest one and lists all."""
    with pytest.raises(UsageError) as caught:
        registry.resolve("mlfow")

    assert "Unknown tracker 'mlfow'. Did you mean 'mlflow'?" in str(caught.value)
    assert "local, mlflow" in str(caught.value)


@pytest.mark.parametrize("spec", ["", " , ", [], 7, [7], MemoryTracker])
def test_anything_else_is_refused(spec):
    """An empty list, another type, or a class instead of an object is a usage error."""
    with pytest.raises(UsageError):
        registry.resolve(spec)


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", "Cannot load the tracker 'broken': No module"),
        ("odd", "is registered as 'odd' but is no tracker"),
    ],
)
def test_a_broken_plugin_is_named(name: str, message: str):
    """A third-party tracker that cannot be loaded is named in the error; others still work."""
    with pytest.raises(UsageError, match=message):
        registry.get(name)

    assert registry.get("local").name == "local"
    assert name in registry.names()


@pytest.mark.usefixtures("plugin")
def test_an_installed_tracker_replaces_one_of_lrtrack():
    """A package that registers a name of lrtrack's own comes first, in whatever order they are."""
    assert isinstance(registry.get("tensorboard"), MemoryTracker)


def test_the_default_tracker_comes_from_the_settings(monkeypatch: pytest.MonkeyPatch):
    """Without a tracker, the settings decide, and MLflow is the last resort."""
    monkeypatch.setenv("LRTRACK_TRACKER", "local")
    configured = registry.resolve(None)
    monkeypatch.delenv("LRTRACK_TRACKER")

    assert [tracker.name for tracker in configured] == ["local"]
    assert [tracker.name for tracker in registry.resolve(None)] == ["mlflow"]


def test_everything_for_authors_of_trackers_is_exported():
    """`lrtrack.trackers` exports each name it lists, and an unknown name is an error."""
    assert {name for name in trackers.__all__ if getattr(trackers, name, None) is None} == set()
    assert set(trackers.__all__) <= set(dir(trackers))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = trackers.nothing


def test_optional_hooks_are_found_by_their_methods():
    """A tracker has a hook by having its method; the built-in trackers have the ones listed."""
    hooks = {
        name: {hook.__name__ for hook in HOOKS if isinstance(registry.get(name), hook)}
        for name in ("local", "mlflow", "tensorboard", "wandb")
    }
    writing = {"HasAccess", "LocatesRuns", "OpensChildRuns", "OpensSeparateRuns", "Publisher"}

    assert hooks == {
        "local": set(),
        "mlflow": writing | {"TakesSharedUri"},
        "tensorboard": {"OnlyReads"},
        "wandb": writing | {"GuardsOpenRuns", "HintsAtOpenRuns", "KnowsPhases", "RenewsTargets"},
    }
