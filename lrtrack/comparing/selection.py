"""The latest runs of an experiment: those that started last, or since a moment."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from lrtrack.errors import UsageError
from lrtrack.fields import resolve
from lrtrack.filters import Filter
from lrtrack.records import History

#: What `since` accepts: a span such as `"7d"`, a date or a time as text or as Python has it.
Since = str | date | timedelta

_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(s|m|min|h|d|w)", re.ASCII)
_FIX = 'Fix: write a span such as "30m", "12h", "7d" or "2w", or a date such as "2026-11-01".'


def moment_of(since: Since | None, now: float | None = None) -> float | None:
    """The moment that `since` stands for, in seconds since the epoch; None stays None.

    Args:
        since: a span before now, such as `"30m"`, `"12h"`, `"7d"`, `"2w"` or a `timedelta`; or a
            date or time in ISO format, or as an object. A date means its first moment. Without a
            time zone, the local one counts.
        now: seconds since the epoch; None: the present.

    Raises:
        UsageError: it is none of these, or it is in the future.
    """
    if since is None:
        return None
    now = time.time() if now is None else now
    if isinstance(since, timedelta):
        moment = now - since.total_seconds()
    elif isinstance(since, str) and (span := _SPAN.fullmatch(since.strip().lower())):
        moment = now - float(span[1]) * _SECONDS[span[2]]
    else:
        moment = _timestamp(_moment_named(since), since)
    if moment > now:
        raise UsageError(f"since is {since!r}, which is in the future. {_FIX}")
    return max(moment, 0.0)


def _moment_named(since: Any) -> datetime:
    if isinstance(since, datetime):
        return since
    if isinstance(since, date):
        return datetime(since.year, since.month, since.day)
    try:
        return datetime.fromisoformat(since.strip())
    except (AttributeError, TypeError, ValueError):
        raise UsageError(f"since must be a span or a date, got {since!r}. {_FIX}") from None


def _timestamp(moment: datetime, since: Any) -> float:
    try:
        return moment.timestamp()
    except (OverflowError, OSError, ValueError):
        raise UsageError(f"since is {since!r}, which is out of range. {_FIX}") from None


def count_of(last: int | None) -> int | None:
    """The number of runs that `last` stands for; None stays None.

    Raises:
        UsageError: it is not an integer of at least 1.
    """
    if last is None:
        return None
    if isinstance(last, bool) or not isinstance(last, int) or last < 1:
        raise UsageError(
            f"last must be a number of runs, at least 1; got {last!r}. Fix: write for example 10, "
            "or leave it out for all runs."
        )
    return last


def latest(histories: Iterable[History], last: int | None, since: float | None) -> list[History]:
    """Keep the runs that started last, in their order.

    Args:
        histories: the runs; the blocks of one run count as one.
        last: how many; None: all.
        since: only those that started at this moment or later, in seconds since the epoch.
    """
    kept = [history for history in histories if history.run.started >= (since or -math.inf)]
    if last is None:
        return kept
    started: dict[tuple[str, str], float] = {}
    for history in kept:
        key = (history.tracker, history.id)
        started[key] = max(history.run.started, started.get(key, -math.inf))
    newest = set(sorted(started, key=lambda key: -started[key])[:last])
    return [history for history in kept if (history.tracker, history.id) in newest]


def passes(history: History, filters: Iterable[Filter]) -> bool:
    """Whether all filters hold for one run, as far as it alone shows.

    False where `lrtrack.filters.select` would refuse a filter or warn of it.
    """
    fields = history.fields()
    try:
        named = [(condition, resolve(condition.field, fields)) for condition in filters]
    except UsageError:
        return False
    return all(name and replace(test, field=name).holds(fields.get(name)) for test, name in named)
