"""The values of arguments, as users give them: converted where they are sensible, else refused.

A journal takes any JSON, and its readers do not: what they would refuse is refused here, before
the training.
"""

from __future__ import annotations

import dataclasses
import json
import math
import operator
import os
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch

from lrtrack.errors import UsageError, clean, unknown
from lrtrack.fields import DEEPEST
from lrtrack.journal.events import MAX_EVENT, understood
from lrtrack.journal.framing import Frame, Kind
from lrtrack.records import Run

#: What trackers and readers can hold as an integer.
_LARGEST = 2**63 - 1
#: What a run id may look like: MLflow's and lrtrack's are hexadecimal, W&B's the user's choice.
_RUN_ID = re.compile(r"(?!/)(?!.*(?:^|/)\.{1,2}(?:/|$))[^\s\\*?\[\]\x00-\x1f]{1,256}")
#: Room in an event for what else it says.
_MARGIN = 2**16


def text(name: str, value: Any, *, empty: bool = True) -> str | None:
    """The value of an argument that is text: text, a number or a path; None stays None.

    Raises:
        UsageError: it is something else, or holds characters that cannot be stored.
    """
    if value is None:
        return None
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, bool) or not isinstance(value, str):
        number = None if isinstance(value, bool | bytes) else _whole(value)
        if number is None or abs(number) > _LARGEST:
            raise UsageError(f"{name} must be text, got {_shown(value)}. Fix: give a str.")
        value = str(number)
    value = str.__str__(value)
    if not _encodes(value):
        raise UsageError(
            f"{name} holds characters that are no valid Unicode: {_shown(value)}. Fix: remove them."
        )
    if not empty and not value:
        raise UsageError(f"{name} must not be empty.")
    return str(value)


def choice(name: str, value: Any, known: Collection[str]) -> str:
    """The value of an argument that is one of several words.

    Raises:
        UsageError: it is none of them.
    """
    if isinstance(value, str) and value in known:
        return str(value)
    given = value if isinstance(value, str) else _shown(value)
    raise UsageError(unknown(f"value for {name}", given, known))


def integer(name: str, value: Any, least: int = -_LARGEST - 1) -> int:
    """The value of an argument that is an integer, of Python, NumPy or torch.

    Raises:
        UsageError: it is not one, or out of range.
    """
    number = None if isinstance(value, bool) else _whole(value)
    if number is None or not least <= number <= _LARGEST:
        bounds = f"at least {least}" if least >= 0 else "of 64 bits at most"
        raise UsageError(f"{name} must be an integer, {bounds}; got {_shown(value)}")
    return number


def seconds(name: str, value: Any) -> float:
    """The value of an argument that is a time to wait; infinity is one.

    Raises:
        UsageError: it is not a number, negative or NaN.
    """
    try:
        number = math.nan if isinstance(value, bool | str | bytes) else float(value)
    except Exception:
        number = math.nan
    if not number >= 0:
        raise UsageError(
            f"{name} is in seconds, at least 0; got {_shown(value)}. Fix: 0 does not wait, "
            "math.inf waits as long as it takes."
        )
    return number


def run_id(name: str, value: Any) -> str | None:
    """The value of an argument that is a run's id.

    Raises:
        UsageError: it cannot be one, such as a path or a pattern.
    """
    found = text(name, value, empty=False)
    if found is not None and (not _RUN_ID.fullmatch(found)):
        raise UsageError(
            f"{name} must be a run's id, got {_shown(found)}. Fix: give what `run.id` or "
            "`lrtrack runs` says, not a path or a pattern."
        )
    return found


def tags(value: Any) -> dict[str, str]:
    """The user's own tags; those whose value is None are left out.

    Raises:
        UsageError: it is not a mapping, or a name or value cannot be stored.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UsageError(
            f'tags must be a mapping such as {{"team": "vision"}}, got {_shown(value)}'
        )
    return {
        _written("a tag's name", key): _written(f"the tag {_shown(key)}", inner)
        for key, inner in value.items()
        if inner is not None
    }


def config(value: Any) -> dict[str, Any]:
    """Settings as a mapping of what JSON can hold: of a mapping, a dataclass or a namespace.

    Objects are their text; nothing of the user's is copied.

    Raises:
        UsageError: it is none of these, too deep, too large, or a value has no text.
    """
    found = _json(as_mapping(value), "config", DEEPEST // 2)
    try:
        size = len(json.dumps(found))
    except ValueError as error:  # an integer of more digits than Python writes
        raise UsageError(f"config cannot be stored: {error}") from error
    if size > MAX_EVENT - _MARGIN:
        largest = max(found, key=lambda key: len(json.dumps(found[key])))
        raise UsageError(
            f"config takes {size / 2**20:.0f} MiB, and {(MAX_EVENT - _MARGIN) / 2**20:.0f} MiB is "
            f"the most; the largest value is {largest!r}. Fix: leave it out, or log it as a file."
        )
    return dict(found)


def as_mapping(value: Any) -> dict[Any, Any]:
    """`config` as a mapping: a dict, a dataclass, or an `argparse.Namespace`.

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
    raise UsageError(f"config must be a mapping, a dataclass or a namespace, got {_shown(value)}")


def require_readable(run: Run) -> None:
    """Refuse a run of which no reader could make sense, by asking the readers.

    Raises:
        UsageError: that is so.
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


def _json(value: Any, path: str, deepest: int) -> Any:
    if isinstance(value, Mapping | list | tuple) and deepest < 0:
        raise UsageError(f"config has more than {DEEPEST // 2} lists and mappings in each other")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = as_mapping(value)
    if isinstance(value, Mapping):
        return {
            key: _json(inner, f"{path}[{clean(key)[:80]!r}]", deepest - 1)
            for key, inner in ((_written(f"a key in {path}", k), v) for k, v in value.items())
        }
    if isinstance(value, list | tuple):
        return [_json(inner, f"{path}[{at}]", deepest - 1) for at, inner in enumerate(value)]
    if value is None or type(value) in (bool, float):
        return value
    if type(value) is int and abs(value) < 2**1024:
        return value
    return _written(path, value)


def _written(what: str, value: Any) -> str:
    """The text of any object."""
    try:
        found = str.__str__(value) if isinstance(value, str) else str(value)
    except Exception as error:
        raise UsageError(
            f"{what} cannot be written as text: {type(error).__name__}: {_shown_text(error)}. "
            "Fix: give its text or leave it out."
        ) from error
    return found if _encodes(found) else found.encode("utf-8", "backslashreplace").decode()


def _whole(value: Any) -> int | None:
    """An integer of any library; None for what is not one."""
    if isinstance(value, torch.Tensor) and (value.numel() != 1 or value.dtype is torch.bool):
        return None
    if type(value).__name__ in ("bool", "bool_"):  # NumPy's
        return None
    try:
        found: Any = value.item() if isinstance(value, torch.Tensor) else value
        return operator.index(found)
    except Exception:
        return None


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: Any) -> str:
    """A value in a message: short, on one line, whatever its `__repr__` does."""
    kind = type(value).__name__
    try:
        found = clean(repr(value))
    except Exception:
        return f"an object of class {kind}"
    return f"{found[:80]}{'…' if len(found) > 80 else ''} ({kind})"


def _shown_text(error: Exception) -> str:
    call: Callable[[Any], str] = str
    try:
        return clean(call(error))[:80]
    except Exception:
        return "no text"
