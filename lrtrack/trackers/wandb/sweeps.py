"""Registering a sweep with W&B."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from typing import Any

from lrtrack._optional import load
from lrtrack.errors import TrackerUnavailable
from lrtrack.redaction import redact
from lrtrack.trackers.wandb import destination, login, shutdown


def start_sweep(config: Mapping[str, Any], project: str | None = None) -> str:
    """Register a sweep with W&B.

    Args:
        config: the sweep's configuration, from `lrtrack.sweeps.sweep`.
        project: `[ENTITY/]PROJECT`; None: the one in W&B's settings.

    Returns:
        The sweep's path for `wandb agent`: `ENTITY/PROJECT/SWEEP`.

    Raises:
        UsageError: there is no API key.
        TrackerUnavailable: W&B does not answer, or refuses the sweep.
    """
    login.check_key(destination.base_url())
    wandb = load("wandb")
    shutdown.limit_wait()
    entity, _, name = (project or "").rpartition("/")
    name = (
        name
        or os.environ.get("WANDB_PROJECT")
        or destination.settings_value("project")
        or "lrtrack"
    )
    entity = entity or os.environ.get("WANDB_ENTITY") or wandb.Api().default_entity
    try:
        with contextlib.redirect_stdout(
            sys.stderr
        ):  # W&B prints to stdout, which is only for results
            sweep = wandb.sweep(dict(config), project=name, entity=entity or None)
    except Exception as error:  # W&B raises many kinds of exceptions
        raise TrackerUnavailable(f"W&B did not take the sweep: {redact(str(error))}") from error
    return "/".join(part for part in (entity, name, str(sweep)) if part)
