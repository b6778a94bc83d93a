"""Tracker names and objects become trackers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lrtrack.errors import UsageError
from lrtrack.trackers import registry
from lrtrack.trackers.local import LocalTracker
from lrtrack.trackers.memory import MemoryTracker


@pytest.fixture
def plugin(clean_place: Path, monkeypatch: pytest.MonkeyPatch):
    """Install a package that registers `broken` (cannot be imported) and `odd` (no tracker)."""
    info = clean_place / "someone-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: someone\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[lrtrack.trackers]\nbroken = someone_missing:Tracker\nodd = someone_odd:Odd\n"
    )
    (clean_place / "someone_odd.py").write_text("class Odd:\n    name = 'odd'\n")
    monkeypatch.syspath_prepend(str(clean_place))
    registry.get.cache_clear()
    yield
    registry.get.cache_clear()
    sys.modules.pop("someone_odd", None)


def test_what_ships_is_registered():
    """The trackers of lrtrack itself are found by their entry points."""
    assert {"local", "mlflow"} <= set(registry.names())


@pytest.mark.parametrize("spec", ["local,mlflow", " local , mlflow ", ["local", "mlflow"]])
def test_several_trackers(spec):
    """Names come as one text with commas, or as a list."""
    assert [tracker.name for tracker in registry.resolve(spec)] == ["local", "mlflow"]


def test_a_tracker_named_twice_is_one():
    """Nothing is delivered twice because a name was written twice."""
    assert [tracker.name for tracker in registry.resolve(["local", "local,local"])] == ["local"]


def test_an_object_is_taken_as_it_is():
    """A tracker object needs no entry point."""
    memory = MemoryTracker()

    assert registry.resolve([memory, "local"]) == [memory, registry.get("local")]


def test_two_objects_of_one_name_are_refused():
    """Of two different places with one name, one would get nothing."""
    one, two = MemoryTracker(), MemoryTracker()

    assert registry.resolve([one, one]) == [one]
    with pytest.raises(UsageError, match="Two trackers are called 'memory'"):
        registry.resolve([one, two])


def test_an_object_of_a_tracker_that_is_named_too_is_one():
    """A portable tracker is made anew where it writes: its name says everything about it."""
    local = LocalTracker()

    assert registry.resolve(["local", local]) == [registry.get("local")]


def test_an_unknown_name_says_what_exists():
    """The nearest name is offered, and all are listed."""
    with pytest.raises(UsageError) as caught:
        registry.resolve("mlfow")

    assert "Unknown tracker 'mlfow'. Did you mean 'mlflow'?" in str(caught.value)
    assert "local, mlflow" in str(caught.value)


@pytest.mark.parametrize("spec", ["", " , ", [], 7, [7], MemoryTracker])
def test_what_names_no_tracker_is_refused(spec):
    """Neither nothing, nor something else, nor a class instead of an object."""
    with pytest.raises(UsageError):
        registry.resolve(spec)


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(("name", "why"), [("broken", "Cannot load"), ("odd", "no tracker")])
def test_a_broken_plugin_is_named(name: str, why: str):
    """Somebody else's package that fails is an error that names it; the others still work."""
    with pytest.raises(UsageError, match=f"'{name}'.* {why}"):
        registry.get(name)

    assert registry.get("local").name == "local"
    assert name in registry.names()
