"""Copies of finished runs on this machine, so that a second report asks W&B for nothing."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from lrtrack.records import Run
from lrtrack.settings import redact
from lrtrack.trackers import columns


def place_of(url: str, run: Run, found: Any) -> Path:
    """Where a finished run is kept: under a name made of digits, never of a run's own words."""
    base = os.environ.get("XDG_CACHE_HOME")
    folder = Path(base) if base else Path.home() / ".cache"
    about = [redact(url), run.experiment, found.id, found.state, _attribute(found, "heartbeatAt"),
             _attribute(found, "historyLineCount")]  # fmt: skip
    digest = hashlib.sha256(json.dumps(about, default=str).encode()).hexdigest()
    return folder / "lrtrack" / "wandb" / f"{digest}.parquet"


def _attribute(found: Any, name: str) -> Any:
    return getattr(found, "_attrs", {}).get(name)


def keep(table: pa.Table, path: Path) -> None:
    """Keep a copy; a cache that cannot be written is none."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_suffix(f".{uuid.uuid4().hex}")
        columns.write_parquet(table, fresh)
        fresh.replace(path)
