"""Registering a sweep with W&B."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from typing import Any

from lrtrack._optional import load
from lrtrack.errors import TrackerUnavailable
from lrtrack.settings import redact
from lrtrack.trackers.wandb import base_url, destination, login, shutdown


def start_sweep(config: Mapping[str, Any], project: str | None = None) -> str:
    """Register a sweep.

    Args:
        config: as `lrtrack.sweeps.sweep` returns it.
        project: `[ENTITY/]PROJECT`; None: where W&B's own settings say.

    Returns:
        What `wandb agent` takes: `ENTITY/PROJECT/SWEEP`.

    Raises:
        UsageError: there is no API key.
        TrackerUnavailable: W&B does not answer, or refuses.
    """
    login.check_key(base_url() or destination.from_file("base_url"))
    wandb = load("wandb")
    shutdown.bound()
    entity, _, name = (project or "").rpartition("/")
    name = name or os.environ.get("WANDB_PROJECT") or destination.from_file("project") or "lrtrack"
    entity = entity or os.environ.get("WANDB_ENTITY") or wandb.Api().default_entity
    try:
        with contextlib.redirect_stdout(sys.stderr):  # W&B prints; results alone go to stdout
            sweep = wandb.sweep(dict(config), project=name, entity=entity or None)
    except Exception as error:  # W&B raises whatever its parts do
        raise TrackerUnavailable(f"W&B did not take the sweep: {redact(str(error))}") from error
    return "/".join(part for part in (entity, name, str(sweep)) if part)
