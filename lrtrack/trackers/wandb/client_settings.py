"""How W&B's client connects, authenticates and uploads."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lrtrack.settings import passed_variables
from lrtrack.trackers.base import origin_of
from lrtrack.trackers.environment import needed
from lrtrack.trackers.hooks import Access
from lrtrack.trackers.wandb import destination, login

#: The reply of a writer process to a command.
Reply = dict[str, Any]
#: Attempts to upload a file, and seconds between them; after that the run ends without the file.
#: W&B's own values would keep the run open for a quarter of an hour.
FILE_ATTEMPTS, FILE_PAUSE = 5, 5.0

# What W&B's service, a Go program, reads, and what it stores of a job of SLURM.
_NEEDED = re.compile(r"GO(DEBUG|MAXPROCS|GC|MEMLIMIT|TRACEBACK)|SLURM_(?!JWT)\w+")


def _files(environ: Mapping[str, str]) -> dict[str, Path]:
    home = Path(environ.get("HOME") or "/nonexistent")
    config = Path(environ.get("WANDB_CONFIG_DIR") or home / ".config" / "wandb")
    return {"~/.config/wandb/settings": config / "settings"}


def run_settings(timeout: float, **settings: Any) -> Any:
    """The `wandb.Settings` of a run that lrtrack writes.

    Args:
        timeout: seconds for W&B to open the run.
        **settings: the run's own.
    """
    import wandb

    return wandb.Settings(
        console="off",
        silent=True,
        disable_git=True,
        save_code=False,
        x_disable_stats=True,  # this process's load is not that of the training
        x_file_transfer_retry_max=FILE_ATTEMPTS,
        x_file_transfer_retry_wait_max_seconds=FILE_PAUSE,
        init_timeout=timeout,
        **settings,
    )


def api_key_fix() -> str:
    """How to fix an API key that the server refused, or that is missing."""
    if os.environ.get("WANDB_API_KEY"):
        return "correct or unset WANDB_API_KEY, whose key the server does not know"
    return "run `wandb login --relogin`, or set WANDB_API_KEY"


ACCESS = Access(
    decides=lambda name, value: destination.is_secret(name),
    is_path=destination.is_path,
    files=_files,
    sends=lambda name, target: destination.is_secret(name) and "PROXY" not in name,
    origin=lambda target: origin_of(target.uri or destination.DEFAULT_URL),
    home=lambda environ: origin_of(
        environ.get("WANDB_BASE_URL")
        or destination.settings_value("base_url")
        or destination.DEFAULT_URL
    ),
    ask_for=lambda target: f"WANDB_BASE_URL={target.uri or destination.DEFAULT_URL}",
    needs=lambda name: _NEEDED.fullmatch(name) is not None,
)


def inherited_environment() -> dict[str, str]:
    """What a process that writes a run gets of this process's environment.

    That is nothing that describes a run, and no other tracker's credentials.
    """
    variables = needed(os.environ, {destination.NAME: ACCESS}, passed_variables())
    return {n: text for n, text in variables.items() if not destination.is_run_variable(n)}


def failure(error: BaseException) -> Reply:
    """The reply to a command that raised `error`, with the fix and whether the error is final."""
    import wandb.errors

    text = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
    if login.is_refusal(text):
        return {"error": "W&B refused the API key", "fix": api_key_fix(), "final": True}
    if "api_key not configured" in text:
        return {"error": "W&B has no API key", "fix": api_key_fix(), "final": True}
    refused = any(word in text.lower() for word in ("permission denied", "403"))
    final = isinstance(error, wandb.errors.UsageError | TypeError) or refused
    return {"error": f"W&B: {text}", "final": final}
