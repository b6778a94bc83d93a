"""Names of metrics, params and tags, as MLflow accepts them.

Valid characters, limited length. MLflow also treats names as paths, and refuses a run for a name
that is not a normalized one: no part may be empty, `.` or `..`, and the name must not begin with
two dots. Different names may become the same: all but the first of them get a hash of what they
were, so that `acc@1` and `acc#1` are two metrics.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeVar

#: The tag that says which metrics have other names than in lrtrack: MLflow's name → lrtrack's.
TAG = "lrtrack.metric_names"
#: The most characters of that tag; the strictest store takes 5000.
_LONGEST_TAG = 4900

_INVALID = re.compile(r"[^\w\-. /:]")
_LENGTH, _HASH_LENGTH = 250, 6

T = TypeVar("T")


def key(name: str) -> str:
    """Turn a name into one that MLflow accepts."""
    whole = _normalized(_INVALID.sub("_", name))
    return whole if len(whole) <= _LENGTH else _hashed(whole, name)


def keyed(values: Mapping[str, T]) -> dict[str, T]:
    """Turn the names of values that are stored together; they get a hash only if two collide."""
    count = Counter(map(key, values))
    return {
        _hashed(key(name), name) if count[key(name)] > 1 and key(name) != name else key(name): value
        for name, value in values.items()
    }


class MetricNames:
    """The names of the metrics of one MLflow run.

    The first metric that needs a name gets it. That is stored in a tag of the run before it is
    used, for deliveries that continue later.
    """

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}
        self._keys: dict[str, str] = {}
        self._news = False

    def recall(self, tags: Mapping[str, str], metrics: Iterable[str]) -> None:
        """Take the names from a run's tags, and those of its metrics that no tag mentions.

        Args:
            tags: the run's tags.
            metrics: MLflow's names of all metrics that the run has.
        """
        self._owners = {name: name for name in metrics} | _stored(tags)
        self._keys = {name: key for key, name in self._owners.items()}
        self._news = False

    def key(self, name: str) -> str:
        """MLflow's name of a metric."""
        known = self._keys.get(name)
        if known is None:
            known = key(name)
            if self._owners.get(known, name) != name:
                known = _hashed(known, name)
            known = self._claim(known, name)
        return known

    def news(self) -> dict[str, str]:
        """The tag to be stored before the names are used; empty if it is stored as it is."""
        return {TAG: self._text()} if self._news else {}

    def noted(self) -> None:
        """Says that the tag is stored."""
        self._news = False

    def _claim(self, key: str, name: str) -> str:
        self._owners[key] = name
        self._keys[name] = key
        if key != name:
            if len(self._text()) <= _LONGEST_TAG:
                self._news = True
            else:  # no room: a name that says by itself whose it is
                del self._owners[key]
                self._keys[name] = _hashed(key, name)
        return self._keys[name]

    def _text(self) -> str:
        changed = {key: name for key, name in self._owners.items() if key != name}
        return json.dumps(changed, ensure_ascii=False)


def _stored(tags: Mapping[str, str]) -> dict[str, str]:
    try:
        names = json.loads(tags.get(TAG, "{}"))
        return {key: name for key, name in names.items() if isinstance(name, str)}
    except (AttributeError, ValueError, RecursionError):  # edited by someone
        return {}


def _normalized(name: str) -> str:
    parts = (part.replace(".", "_") if part in (".", "..") else part for part in name.split("/"))
    return re.sub(r"^\.\.", "__", "/".join(filter(None, parts))) or "_"


def _hashed(valid: str, name: str) -> str:
    """A valid name with a hash of the original one."""
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:_HASH_LENGTH]
    return valid if valid.endswith(f"-{digest}") else f"{_shortened(valid)}-{digest}"


def _shortened(valid: str) -> str:
    return valid[: _LENGTH - _HASH_LENGTH - 1].rstrip("/")
