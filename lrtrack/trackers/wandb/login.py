"""Whether there is an API key for a W&B server, and whether the server accepts it."""

from __future__ import annotations

import netrc
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from lrtrack.errors import UsageError

DEFAULT_URL = "https://api.wandb.ai"


def check_key(uri: str | None) -> None:
    """See to it that there is an API key, before a training finds out.

    Raises:
        UsageError: there is none; the message names the command that sets one.
    """
    given = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")
    host = urlsplit(uri or DEFAULT_URL).hostname or "api.wandb.ai"
    if any(os.environ.get(name) for name in given) or _in_netrc(host) or _in_session():
        return
    login = "wandb login" + (f" --host {uri}" if uri else "")
    raise UsageError(
        f"W&B has no API key for {host} here: run `{login}` or set WANDB_API_KEY. "
        "WANDB_MODE=offline records without an account."
    )


def refused(text: str) -> bool:
    """Whether W&B's words say that the API key is wrong.

    Its AuthenticationError says nothing: a server that cannot be reached is one, too.
    """
    return any(word in text for word in ("401", "not logged in", "nvalid API key"))


def _in_netrc(host: str) -> bool:
    given = os.environ.get("NETRC")
    paths = [Path(given)] if given else [Path.home() / ".netrc", Path.home() / "_netrc"]
    for path in paths:
        try:
            if netrc.netrc(path.expanduser()).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


def _in_session() -> bool:
    """Whether `wandb.login(key=…)` was called in this process."""
    wandb = sys.modules.get("wandb")
    api = getattr(wandb, "api", None)
    try:
        return bool(api is not None and api.api_key)
    except Exception:  # W&B's own trouble is not a missing key
        return True
