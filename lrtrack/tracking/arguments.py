"""Checks and conversions of single arguments of `track()`.

A journal accepts any JSON, but its readers do not. What they would reject is rejected here, before
the training starts.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from lrtrack.errors import UsageError, clean, unknown
from lrtrack.fields import DEEPEST
from lrtrack.journal.events import MAX_EVENT, understood
from lrtrack.journal.framing import Frame, Kind
from lrtrack.records import Run
from lrtrack.stats.diagnose.codes import CODES
from lrtrack.tracking.number_arguments import LARGEST, shown_value, whole

#: Run ids: those of MLflow and lrtrack are hexadecimal, those of W&B are chosen by the user.
_RUN_ID = re.compile(r"(?!/)(?!.*(?:^|/)\.{1,2}(?:/|$))[^\s\\*?\[\]\x00-\x1f]{1,256}")
#: Space in an event for its other fields.
_MARGIN = 2**16


def text(name: str, value: Any, *, empty: bool = True) -> str | None:
    """Convert an argument that is text, an integer or a path; None stays None.

    Raises:
        UsageError: it is something else, or it has characters that cannot be stored.
    """
    if value is None:
        return None
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, bool) or not isinstance(value, str):
        number = None if isinstance(value, bool | bytes) else whole(value)
        if number is None or abs(number) > LARGEST:
            raise UsageError(f"{name} must be text, got {shown_value(value)}. Fix: pass a str.")
        value = str(number)
    value = str.__str__(value)
    if not _encodes(value):
        raise UsageError(
            f"{name} has characters that are not valid Unicode: {shown_value(value)}. Fix: remove "
            "them."
        )
    if not empty and not value:
        raise UsageError(f"{name} must not be empty.")
    return str(value)


def choice(name: str, value: Any, known: Collection[str]) -> str:
    """Check an argument that is one of several words.

    Raises:
        UsageError: it is none of them.
    """
    if isinstance(value, str) and value in known:
        return str(value)
    word = value if isinstance(value, str) else shown_value(value)
    raise UsageError(unknown(f"value for {name}", word, known))


def codes(name: str, value: Any) -> frozenset[str]:
    """Convert an argument that is one code of a diagnosis, or several.

    Raises:
        UsageError: one of them is unknown.
    """
    given = (value,) if isinstance(value, str) else value
    try:
        listed = tuple(given)
    except TypeError:
        raise UsageError(
            f"{name} must be diagnosis codes, got {shown_value(value)}. Fix: pass a set such as "
            '{"LR006"}.'
        ) from None
    return frozenset(choice(name, code, CODES) for code in listed)


def function(name: str, value: Any) -> Any:
    """Check an argument that is a function; None stays None.

    Raises:
        UsageError: it cannot be called.
    """
    if value is not None and not callable(value):
        raise UsageError(f"{name} must be a function, got {shown_value(value)}.")
    return value


def run_id(name: str, value: Any) -> str | None:
    """Check the id of a run.

    Raises:
        UsageError: it cannot be one, such as a path or a pattern.
    """
    id_text = text(name, value, empty=False)
    if id_text is not None and not _RUN_ID.fullmatch(id_text):
        raise UsageError(
            f"{name} must be the id of a run, got {shown_value(id_text)}. Fix: pass the id that "
            "`run.id` or `lrtrack runs` shows, not a path or a pattern."
        )
    return id_text


def tags(value: Any) -> dict[str, str]:
    """Convert the user's tags; those whose value is None are skipped.

    Raises:
        UsageError: it is not a mapping, or a name or value cannot be stored.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UsageError(
            f'tags must be a mapping such as {{"team": "vision"}}, got {shown_value(value)}.'
        )
    return {
        _to_text("a tag's name", key): _to_text(f"the tag {shown_value(key)}", inner)
        for key, inner in value.items()
        if inner is not None
    }


def config(value: Any) -> dict[str, Any]:
    """Convert settings to a mapping of JSON values.

    Other objects are converted to text; nothing of the user's is copied.

    Args:
        value: a mapping, a dataclass or a namespace.

    Raises:
        UsageError: it is none of these, nested too deeply, too large, or a value has no text.
    """
    settings = _json(as_mapping(value), "config", DEEPEST // 2)
    try:
        size = len(json.dumps(settings))
    except ValueError as error:  # an integer of more digits than Python writes
        raise UsageError(f"config cannot be stored: {error}") from error
    if size > MAX_EVENT - _MARGIN:
        largest = max(settings, key=lambda key: len(json.dumps(settings[key])))
        raise UsageError(
            f"config takes {size / 2**20:.0f} MiB; the limit is "
            f"{(MAX_EVENT - _MARGIN) / 2**20:.0f} MiB. The largest value is {largest!r}. Fix: "
            "remove it from config, or log it as a file."
        )
    return dict(settings)


def as_mapping(value: Any) -> dict[Any, Any]:
    """Turn `config` (a dict, a dataclass, or an `argparse.Namespace`) into a dict.

    Raises:
        UsageError: it is none of these.
    """
    if value is None:
        return {}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: getattr(value, name, None) for name in names}
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "__dict__") and not isinstance(value, type):
        return dict(vars(value))
    raise UsageError(
        f"config must be a mapping, a dataclass or a namespace, got {shown_value(value)}."
    )


def require_readable(run: Run) -> None:
    """Check that readers can read a run back, by reading it.

    Raises:
        UsageError: they cannot.
    """
    try:
        payload = json.dumps({"event": "run", "time": 0.0, "run": run.to_dict()}).encode()
        if len(payload) > MAX_EVENT - _MARGIN // 2:
            raise ValueError(f"it takes {len(payload) / 2**20:.0f} MiB")
        entry = understood(Frame(Kind.EVENT, payload, 0, len(payload)))
        if entry is None or entry.event is None:
            raise ValueError("it is nested too deeply")
        Run.from_dict(entry.event["run"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"This run's description cannot be stored: {error}") from error


def _json(value: Any, path: str, levels_left: int) -> Any:
    if isinstance(value, Mapping | list | tuple) and levels_left < 0:
        raise UsageError(f"config is nested more than {DEEPEST // 2} levels deep.")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = as_mapping(value)
    if isinstance(value, Mapping):
        return {
            key: _json(inner, f"{path}[{clean(key)[:80]!r}]", levels_left - 1)
            for key, inner in ((_to_text(f"a key in {path}", k), v) for k, v in value.items())
        }
    if isinstance(value, list | tuple):
        return [
            _json(inner, f"{path}[{index}]", levels_left - 1) for index, inner in enumerate(value)
        ]
    if value is None or type(value) in (bool, float):
        return value
    if type(value) is int and abs(value) < 2**1024:
        return value
    return _to_text(path, value)


def _to_text(what: str, value: Any) -> str:
    """The text of any object."""
    try:
        string = str.__str__(value) if isinstance(value, str) else str(value)
    except Exception as error:
        raise UsageError(
            f"{what} cannot be written as text: {type(error).__name__}: {_shown_text(error)}. "
            "Fix: pass it as a str, or remove it."
        ) from error
    return string if _encodes(string) else string.encode("utf-8", "backslashreplace").decode()


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown_text(error: Exception) -> str:
    call: Callable[[Any], str] = str
    try:
        return clean(call(error))[:80]
    except Exception:
        return "no text"
