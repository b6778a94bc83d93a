"""Where a W&B run goes: environment variables, W&B's settings files, an open run."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lrtrack.errors import UsageError, unknown
from lrtrack.fields import plain
from lrtrack.records import Target
from lrtrack.settings import redact, working_directory
from lrtrack.trackers.shared_runs import Phase
from lrtrack.trackers.wandb import login, metadata
from lrtrack.trackers.wandb.login import DEFAULT_URL as DEFAULT_URL

NAME = "wandb"

# Variables that hold credentials, or might: they are never written down.
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL|HEADER|PROXY|PROXIES|AUTH")
# Those that name something to run, and are nobody's but the process's that has them.
_COMMAND = re.compile(r"EXECUTABLE|SERVICE_TRANSPORT|LAUNCH")
_SERVICE = re.compile(r"\d+-\d+-(unix-/[^\0]+|tcp-localhost-\d+)")
# What only means something to the very process that has it.
_FLEETING = ("WANDB_SERVICE", "WANDB_RESUME", "WANDB_RUN_ID")
# What means one run, or its part in a sweep, and is not for another run beside it.
_OF_ONE_RUN = (
    *("WANDB_SERVICE", "WANDB_NAME", "WANDB_NOTES", "WANDB_SWEEP_ID"),
    *("WANDB_SWEEP_PARAM_PATH", "WANDB_RUN_GROUP", "WANDB_JOB_TYPE"),
)
# What says where a run goes and what it is called: the same, whoever delivers it.
_OF_THE_RUN = (
    *_OF_ONE_RUN,
    *("WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_PROJECT", "WANDB_TAGS", "WANDB_DIR"),
)
_PATHS = (
    *("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "WANDB_ARTIFACT_DIR"),
    *("WANDB_IDENTITY_TOKEN_FILE", "WANDB_CREDENTIALS_FILE"),
)
_MODES = {
    **{name: name for name in ("online", "offline", "shared", "disabled")},
    **{"dryrun": "offline", "run": "online"},
}


def own(experiment: str | None, default: str) -> Target:
    """A new run: in `experiment`, written `[ENTITY/]PROJECT`, or where W&B itself would go.

    Raises:
        UsageError: it would go online, and there is no API key; or W&B knows no such mode.
    """
    found = environment()
    check_mode(found)
    asked, _, project = (experiment or "").rpartition("/")
    project = project or found.get("WANDB_PROJECT") or from_file("project") or default
    entity = asked or found.get("WANDB_ENTITY") or from_file("entity")
    uri = redact(found.get("WANDB_BASE_URL") or from_file("base_url") or "") or None
    if mode(found) == "online":
        login.check_key(uri)
    return Target(
        NAME,
        uri,
        experiment=f"{entity}/{project}" if entity else project,
        run_id=os.environ.get("WANDB_RUN_ID") or None,
        environment=found,
        delivers=mode(found) != "disabled",
    )


def joined(run: Any) -> Target:
    """The run that the user has open, to be written from outside his process if possible."""
    found = environment() | {"WANDB_MODE": _mode_of(run)}
    service = os.environ.get("WANDB_SERVICE")
    if service:
        found["WANDB_SERVICE"] = service
    server = getattr(getattr(run, "settings", None), "base_url", None)
    if isinstance(server, str) and server.rstrip("/") != DEFAULT_URL:
        found["WANDB_BASE_URL"] = redact(server)  # perhaps an argument of `wandb.init`
    project = getattr(run, "project", None) or "uncategorized"
    entity = getattr(run, "entity", None)
    return Target(
        NAME,
        redact(found.get("WANDB_BASE_URL", "")) or None,
        experiment=f"{entity}/{project}" if entity else project,
        run_id=run.id,
        url=getattr(run, "url", None),
        joined=True,
        environment=found,
        delivers=mode(found) != "disabled",
    )


def child(run: Any, parent: Target) -> Target:
    """A new run beside the open `run` of `parent`, in one group with it.

    That is the open run's own group, or a group with its id for a name: the open run itself is not
    changed.
    """
    kept = {name: text for name, text in parent.environment.items() if name not in _OF_ONE_RUN}
    kept["WANDB_RUN_GROUP"] = str(getattr(run, "group", None) or parent.run_id)
    return replace(
        parent, run_id=None, url=None, joined=False, parent=parent.run_id, environment=kept
    )


def earlier(run: Any, prefix: str) -> tuple[int, tuple[Phase, ...]]:
    """What a run that was resumed has of lrtrack's already, as its own process knows it.

    Args:
        run: the run that the user has open.
        prefix: of the block.

    Returns:
        The step at which a new block begins, and the phases before it.
    """
    if not getattr(run, "resumed", False):
        return 0, ()
    found = plain(dict(run.config)).get(metadata.CONFIG)
    block = metadata.blocks(found).get(prefix)
    last = run.summary.get(metadata.STEP)
    if block is None or not isinstance(last, int | float) or not 0 <= last < 2**53:
        return 0, ()
    return int(last) + 1, metadata.phases_from(block, str(run.id))


def apart(active: Target | None, experiment: str | None, default: str) -> Target:
    """A new run that takes nothing of the one that is active, or that the variables speak of.

    Raises:
        UsageError: it would go online, and there is no API key.
    """
    if active is None:
        target = own(experiment, default)
    elif experiment is None:
        target = replace(active, run_id=None, url=None, joined=False)
    else:
        target = replace(own(experiment, default), environment=active.environment)
        target = replace(target, delivers=active.delivers)
    kept = {name: text for name, text in target.environment.items() if name not in _OF_ONE_RUN}
    return replace(target, run_id=None, environment=kept)


def environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """W&B's variables as this process has them, without credentials and commands.

    Args:
        environ: another set of variables, such as one out of a journal; None: this process's,
            with its relative paths made absolute.
    """
    own = environ is None
    found = {
        name: redact(value)
        for name, value in (os.environ if environ is None else environ).items()
        if name.startswith("WANDB_")
        and isinstance(value, str)
        and value
        and name not in _FLEETING
        and not is_secret(name)
        and not _COMMAND.search(name)
    }
    paths = [name for name in found if own and is_path(name)]
    return found | {name: str(working_directory() / found[name]) for name in paths}


def recorded(target: Target) -> dict[str, str]:
    """The variables that the training process had, out of a target that a journal describes.

    They pass the same filter as when they were written: whoever can write a journal must not be
    able to have code run, or credentials go elsewhere.
    """
    found = environment(target.environment)
    found.pop("WANDB_BASE_URL", None)
    if target.uri:  # which alone says what the run's server is
        found["WANDB_BASE_URL"] = target.uri
    service = target.environment.get("WANDB_SERVICE")
    if target.joined and isinstance(service, str) and _SERVICE.fullmatch(service):
        found["WANDB_SERVICE"] = service
    return found


def renewed(target: Target) -> Target:
    """The target with this process's settings in place of those of the process that trained.

    What says where the run goes and what it is called stays. A mode that the training had stays
    unless this process sets one: a run that was meant to be offline is not uploaded unasked.

    Raises:
        UsageError: W&B is switched off in this process, or has a mode that does not exist.
    """
    mine, theirs = environment(), recorded(target)
    found = {name: text for name, text in mine.items() if name not in _OF_THE_RUN}
    found |= {name: text for name, text in theirs.items() if name in _OF_THE_RUN}
    found["WANDB_BASE_URL"] = target.uri or DEFAULT_URL
    check_mode(mine)
    if mode(mine) == "disabled":
        raise UsageError("W&B is switched off here, by WANDB_MODE or WANDB_DISABLED; unset it")
    before = theirs.get("WANDB_MODE", "")
    if not (mine.get("WANDB_MODE") or from_file("mode")) and before in _MODES:
        found["WANDB_MODE"] = before
    return replace(target, environment=found)


def is_secret(name: str) -> bool:
    """Whether a variable of W&B's holds credentials, or might."""
    prefix = "WANDB_"
    return name.startswith(prefix) and _SECRET.search(name.removeprefix(prefix)) is not None


def is_path(name: str) -> bool:
    """Whether a variable of W&B's holds a path."""
    return name in _PATHS


def of_another_run(name: str) -> bool:
    """Whether a variable of this process may speak of the run for which it was started."""
    return name.startswith("WANDB_") and not is_secret(name)


def mode(environ: Mapping[str, str]) -> str:
    """`online`, `offline`, `shared` or `disabled`."""
    if environ.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes"):
        return "disabled"
    asked = environ.get("WANDB_MODE") or from_file("mode") or "online"
    return _MODES.get(asked, asked)


def check_mode(environ: Mapping[str, str]) -> None:
    """Refuse a mode that W&B does not know, before a training finds out.

    Raises:
        UsageError: there is none of that name; the message lists those that exist.
    """
    if mode(environ) in _MODES:
        return
    where = "WANDB_MODE" if environ.get("WANDB_MODE") else "mode in W&B's settings file"
    raise UsageError(unknown(f"value of {where}", mode(environ), _MODES))


def from_file(key: str) -> str | None:
    """A value of W&B's settings files: the working directory's, else the user's."""
    folder = Path(os.environ.get("WANDB_DIR") or ".")
    home = Path(os.environ.get("WANDB_CONFIG_DIR") or Path.home() / ".config" / "wandb")
    for path in (folder / "wandb" / "settings", folder / ".wandb" / "settings", home / "settings"):
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(path)
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue
        if value := parser.get("default", key, fallback=None):
            return value
    return None


def _mode_of(run: Any) -> str:
    settings = getattr(run, "settings", None)
    if getattr(run, "disabled", False):
        return "disabled"
    found = str(getattr(settings, "mode", "online"))
    return _MODES.get(found, found)
