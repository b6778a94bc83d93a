"""Names of metrics, params and tags, as MLflow accepts them.

Valid characters, limited length. MLflow also treats names as paths, and refuses a run for a name
that is not a normalized one: no part may be empty, `.` or `..`, and the name must not begin with
two dots.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from typing import TypeVar

_INVALID = re.compile(r"[^\w\-. /:]")
_LENGTH, _HASH_LENGTH = 250, 6

T = TypeVar("T")


def key(name: str) -> str:
    """Turn a name into one that MLflow accepts and that no other name becomes.

    A part that is changed, such as `acc@1`, ends with a hash of what it was: otherwise `acc#1`
    would be the same metric.
    """
    return _normalized(name, [_distinct(part) for part in name.split("/")])


def keyed(values: Mapping[str, T]) -> dict[str, T]:
    """Turn the names of values that are stored together; they get a hash only if two collide."""
    plain = {name: _normalized(name, _INVALID.sub("_", name).split("/")) for name in values}
    count = Counter(plain.values())
    return {
        key(name) if count[plain[name]] > 1 else plain[name]: value
        for name, value in values.items()
    }


def _normalized(name: str, parts: list[str]) -> str:
    kept = (part.replace(".", "_") if part in (".", "..") else part for part in parts if part)
    whole = re.sub(r"^\.\.", "__", "/".join(kept)) or "_"
    if len(whole) <= _LENGTH:
        return whole
    return f"{whole[: _LENGTH - _HASH_LENGTH - 1].rstrip('/')}-{_hash(name)}"


def _distinct(part: str) -> str:
    valid = _INVALID.sub("_", part)
    return part if valid == part else f"{valid}-{_hash(part)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_HASH_LENGTH]
