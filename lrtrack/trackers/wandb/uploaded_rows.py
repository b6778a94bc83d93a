"""What W&B has of a run already, so that an interrupted delivery writes no step twice."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lrtrack.trackers.wandb import metadata

#: Seconds between two looks at a run in shared mode, until they show the same, and how many looks
#: there are at most.
REST, LOOKS = 1.5, 12


def stored(find: Callable[[], Any]) -> dict[int, set[str]]:
    """Which metrics the server has at which steps.

    Args:
        find: the run as the server has it.
    """
    found: dict[int, set[str]] = {}
    for row in find().scan_history(use_cache=False):
        if isinstance(row.get(metadata.STEP), int):
            found.setdefault(row[metadata.STEP], set()).update(row)
    return found


def stored_at_rest(find: Callable[[], Any]) -> dict[int, set[str]]:
    """As `stored`, once nothing arrives any more that an earlier process has sent.

    In shared mode W&B appends whatever comes; elsewhere a row sent twice replaces itself.

    Raises:
        ConnectionError: something arrives all the time.
    """
    latest = stored(find)
    for _ in range(LOOKS):
        time.sleep(REST)
        before, latest = latest, stored(find)
        if before == latest:
            return latest
    raise ConnectionError("the run still receives rows from elsewhere")


def last(rows: list[Any], summary: dict[str, Any]) -> int | None:
    """Which of `rows` W&B's service took last, by the values in its summary.

    Args:
        rows: (step, time, metrics), in order.
        summary: the latest value of each metric; other blocks may have logged after this one.

    Returns:
        The index; None where the summary shows none of these rows.
    """
    matches = [
        at for at, (_, _, metrics) in enumerate(rows)
        if metrics and all(_same(summary.get(name), value) for name, value in metrics.items())
    ]  # fmt: skip
    exact = [at for at in matches if rows[at][0] == summary.get(metadata.STEP)]
    return max(exact or matches, default=None)


def _same(stored: Any, value: float) -> bool:
    try:
        number = float(stored)
    except (TypeError, ValueError):
        return False
    return number == value or (math.isnan(number) and math.isnan(value))


def superseded(folder: Path, run_id: str) -> list[Path]:
    """Directories of earlier attempts at an offline run that `folder` has all rows of.

    Were both synced, W&B would get each step twice. Only directories of lrtrack's own ids, which
    nothing else has, and none that W&B has synced already.
    """
    if re.fullmatch(r"[0-9a-f]{32}", run_id) is None:
        return []
    return [
        other for other in folder.parent.glob(f"offline-run-*-{run_id}")
        if other != folder and not other.is_symlink() and not any(other.glob("*.synced"))
    ]  # fmt: skip
