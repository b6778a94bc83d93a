"""Remembers with how many seeds a comparison was looked at, to warn of looking until it shows."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

from lrtrack import user_state
from lrtrack.errors import JournalError
from lrtrack.stats import ComparisonResult, Notice

_FILE = "looks.json"
#: Comparisons that are remembered; the oldest ones are forgotten.
_MOST = 500


def notice_of(comparison: ComparisonResult, group_by: str | Sequence[str]) -> Notice | None:
    """Remember this look, and return a warning if there were earlier ones with fewer seeds.

    What cannot be read or written is not remembered: a comparison never fails because of it.
    """
    counts = [sum(v is not None for v in item.final.values) for item in comparison.schedules]
    seeds = min((count for count in counts if count), default=0)
    if len(counts) < 2 or not seeds:
        return None
    try:
        path = user_state.directory() / _FILE
        looks = _read(path)
        key = _key(comparison, group_by)
        earlier = looks.pop(key, [])
        looks[key] = sorted({*earlier, seeds})
        if earlier != looks[key]:
            _write(path, dict(list(looks.items())[-_MOST:]))
    except (OSError, JournalError):
        return None
    fewer = [count for count in earlier if count < seeds]
    if not fewer or comparison.test.name in (None, "sequential"):
        return None
    return Notice(
        "looked-before",
        f"You looked at this comparison before with fewer runs per schedule ({_listed(fewer)}; now "
        f"{seeds}). Adding seeds until a difference shows makes chance differences likely. Fix: "
        "use --sequential, which holds however often you look.",
    )


def _key(comparison: ComparisonResult, group_by: str | Sequence[str]) -> str:
    """Identifies a comparison; its first run tells experiments of one name apart."""
    fields = [group_by] if isinstance(group_by, str) else list(group_by)
    first = min((history.run.started, history.run.id) for history in comparison.histories)
    parts = [comparison.experiment, first[1], comparison.metric, comparison.mode, *fields]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _read(path: Path) -> dict[str, list[int]]:
    """What was remembered; nothing if the file is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {
        str(key): [count for count in counts if type(count) is int]
        for key, counts in content.items()
        if isinstance(counts, list)
    }


def _write(path: Path, looks: dict[str, list[int]]) -> None:
    draft = path.with_name(f".{_FILE}.{uuid.uuid4().hex}")
    try:
        draft.write_text(json.dumps(looks), encoding="utf-8")
        os.replace(draft, path)  # noqa: PTH105
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()


def _listed(counts: Sequence[int]) -> str:
    *first, last = map(str, counts)
    return f"{', '.join(first)} and {last}" if first else last
