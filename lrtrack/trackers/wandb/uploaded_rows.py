"""The rows of a run that W&B already has, so that a repeated upload writes no step twice."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrtrack.trackers.per_run import number_of
from lrtrack.trackers.wandb import metadata

#: Seconds between two requests for a run in shared mode, until both show the same rows, and the
#: most requests.
PAUSE, ATTEMPTS = 1.5, 12


@dataclass(frozen=True)
class UploadedRow:
    """A row that the server has.

    Attributes:
        time: seconds since the epoch; 0 if the row has none.
        names: its metrics.
    """

    step: int
    time: float
    names: frozenset[str]


def rows_of(fetch_run: Callable[[], Any]) -> list[UploadedRow]:
    """The rows of lrtrack that the server has.

    Args:
        fetch_run: fetches the run from the server.
    """
    return [
        UploadedRow(row[metadata.STEP], number_of(row.get("_timestamp")) or 0.0, frozenset(row))
        for row in fetch_run().scan_history(use_cache=False)
        if isinstance(row.get(metadata.STEP), int)
    ]


def metrics_by_step(rows: Iterable[UploadedRow]) -> dict[int, set[str]]:
    """The names of the metrics that the server has at each step."""
    names: dict[int, set[str]] = {}
    for row in rows:
        names.setdefault(row.step, set()).update(row.names)
    return names


def settled_rows_of(fetch_run: Callable[[], Any]) -> list[UploadedRow]:
    """The result of `rows_of`, once no more rows arrive from an earlier process.

    In shared mode W&B appends every row; in other modes a row that is sent twice replaces itself.

    Raises:
        ConnectionError: rows keep arriving.
    """
    latest = rows_of(fetch_run)
    for _ in range(ATTEMPTS):
        time.sleep(PAUSE)
        before, latest = latest, rows_of(fetch_run)
        if before == latest:
            return latest
    raise ConnectionError("the run still receives rows from another process")


def last_accepted(rows: list[Any], summary: dict[str, Any]) -> int | None:
    """Find the last row that W&B's service accepted, by the values in its summary.

    Args:
        rows: (step, time, metrics) in order.
        summary: the latest value of each metric; other blocks may have logged later.

    Returns:
        The index of the row; None if the summary matches none of them.
    """
    matches = [
        index for index, (_, _, metrics) in enumerate(rows)
        if metrics and all(_same(summary.get(name), value) for name, value in metrics.items())
    ]  # fmt: skip
    exact = [index for index in matches if rows[index][0] == summary.get(metadata.STEP)]
    return max(exact or matches, default=None)


def _same(stored: Any, value: float) -> bool:
    try:
        number = float(stored)
    except (TypeError, ValueError):
        return False
    return number == value or (math.isnan(number) and math.isnan(value))


def superseded_folders(folder: Path, run_id: str) -> list[Path]:
    """Directories of earlier attempts at an offline run, all of whose rows are in `folder` too.

    If both were synced, W&B would get each step twice. Only directories with an id of lrtrack are
    listed, which no other program uses, and none that W&B has already synced.
    """
    if re.fullmatch(r"[0-9a-f]{32}", run_id) is None:
        return []
    return [
        other for other in folder.parent.glob(f"offline-run-*-{run_id}")
        if other != folder and not other.is_symlink() and not any(other.glob("*.synced"))
    ]  # fmt: skip
