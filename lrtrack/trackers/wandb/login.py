"""Whether there is an API key for a W&B server, and whether an error means a refused key."""

from __future__ import annotations

import contextlib
import netrc
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from lrtrack.errors import UsageError

DEFAULT_URL = "https://api.wandb.ai"
#: Where W&B keeps API keys unless `NETRC` names a file.
_FILES = ("~/.netrc", "~/_netrc")


def check_key(uri: str | None) -> None:
    """Check before the training starts that there is an API key.

    Raises:
        UsageError: there is none; the message names the command that sets one.
    """
    variables = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")
    host = urlsplit(uri or DEFAULT_URL).hostname or "api.wandb.ai"
    if any(os.environ.get(name) for name in variables) or _in_netrc(host) or _in_session():
        return
    login = "wandb login" + (f" --host {uri}" if uri else "")
    raise UsageError(
        f"W&B has no API key for {host}. Fix: run `{login}`, set WANDB_API_KEY, or record without "
        "an account by WANDB_MODE=offline."
    )


def key_of(host: str) -> str | None:
    """The API key for a server in the variable, else in the file of logins.

    Args:
        host: the server's name, with the port if its address has one.
    """
    if key := os.environ.get("WANDB_API_KEY"):
        return key
    custom = os.environ.get("NETRC")
    with contextlib.suppress(OSError, RuntimeError, netrc.NetrcParseError):
        files = [Path(name).expanduser() for name in ([custom] if custom else _FILES)]
        file = next((file for file in files if file.exists()), None)
        entry = None if file is None else netrc.netrc(file).authenticators(host)
        if entry is not None:
            return entry[2] or None
    return None


def is_refusal(text: str) -> bool:
    """Whether an error message of W&B means that the API key is wrong.

    W&B's AuthenticationError does not mean it: W&B also raises it if the server is unreachable.
    """
    return any(word in text for word in ("401", "not logged in", "nvalid API key"))


def _in_netrc(host: str) -> bool:
    custom = os.environ.get("NETRC")
    for name in [custom] if custom else _FILES:
        try:
            if netrc.netrc(Path(name).expanduser()).authenticators(host):
                return True
        except (OSError, RuntimeError, netrc.NetrcParseError):  # or a user without a home
            continue
    return False


def _in_session() -> bool:
    """Whether `wandb.login(key=…)` was called in this process."""
    wandb = sys.modules.get("wandb")
    api = getattr(wandb, "api", None)
    try:
        return bool(api is not None and api.api_key)
    except Exception:  # a failure inside W&B does not mean a missing key
        return True
