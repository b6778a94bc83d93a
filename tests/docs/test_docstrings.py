"""Every public name says what it is, what it takes, in which units, and what it raises."""

from __future__ import annotations

import builtins
import dataclasses
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lrtrack import errors

_SPEC = importlib.util.spec_from_file_location("docs_public", Path(__file__).parent / "public.py")
assert _SPEC is not None
assert _SPEC.loader is not None
sys.modules["docs_public"] = public = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(public)

NAMES = public.names()
#: Words in names of what is measured in seconds, whole or between underscores.
SECONDS = {
    "time", "times", "timeout", "seconds", "patience", "started", "ended", "after", "half", "idle",
}  # fmt: skip
_ERROR = re.compile(r"\b[A-Z]\w*(?:Error|Found|Unavailable|Lost|Package)\b")
OURS = {name for name, thing in vars(errors).items() if inspect.isclass(thing)}
TOLD = OURS | {"TypeError", "ValueError", "KeyError", "ImportError"}


def failing(holds: Callable[[Any], Any]) -> dict[str, Any]:
    """Path → what is wrong, of those names of which something is."""
    return {name.path: wrong for name in NAMES if (wrong := holds(name))}


def test_there_are_names() -> None:
    """Those that the contract lists, and with them their methods."""
    paths = {name.path for name in NAMES}

    assert {"lrtrack.track", "lrtrack.TrackedRun.log", "lrtrack.Comparison.save"} <= paths
    assert {"lrtrack.trackers.base.Sink.write", "lrtrack.testing.TrackerContract"} <= paths


def test_each_has_a_docstring() -> None:
    """Its own, which begins with a sentence."""

    def wrong(name: Any) -> str | None:
        first = name.doc.partition("\n\n")[0]
        return None if first and first[-1] in ".:;" else first or "none"

    assert failing(wrong) == {}


def test_each_says_what_it_takes() -> None:
    """Each parameter is below `Args:`, or named in the text where there is little to say."""

    def wrong(name: Any) -> list[str]:
        told = name.entries("Args")
        silent = [p for p in name.parameters if p not in told and f"`{p}" not in name.doc]
        return silent + [f"no {p}" for p in told if p not in name.parameters]

    assert failing(wrong) == {}


def test_each_says_what_it_raises() -> None:
    """Every error that a caller may want to catch is below `Raises:`, by a name that exists."""

    def wrong(name: Any) -> list[str]:
        if not inspect.isfunction(name.thing):
            return []
        told = set(_ERROR.findall(name.section("Raises")))
        known = [thing for thing in map(error_of, told) if thing is not None]
        raised = public.raised(name.thing) & TOLD
        silent = [each for each in raised if not issubclass(error_of(each), tuple(known))]
        return silent + [f"no {each}" for each in told if error_of(each) is None]

    assert failing(wrong) == {}


def error_of(name: str) -> Any:
    """The class of an error of lrtrack's, or of Python's."""
    return getattr(errors, name, getattr(builtins, name, None))


def test_times_are_in_seconds() -> None:
    """What is measured in seconds says so, with its name."""

    def wrong(name: Any) -> list[str]:
        entries = {**name.entries("Args"), **name.entries("Attributes")}
        timed = {each: text for each, text in entries.items() if SECONDS & set(each.split("_"))}
        # Whose line only refers to another function's docstring, has its units there.
        return [t for t, text in timed.items() if "second" not in text and "as in `" not in text]

    assert failing(wrong) == {}


def test_arrays_have_shapes() -> None:
    """Attributes that are arrays, and results, say of what shape."""

    def wrong(name: Any) -> list[str]:
        if dataclasses.is_dataclass(name.thing):
            told = name.entries("Attributes")
            arrays = [f.name for f in dataclasses.fields(name.thing) if "NDArray" in str(f.type)]
            return [each for each in arrays if "shape" not in told.get(each, "")]
        returned = str(getattr(name.thing, "__annotations__", {}).get("return", ""))
        return [returned] if "NDArray" in returned and "shape" not in name.doc else []

    assert failing(wrong) == {}
