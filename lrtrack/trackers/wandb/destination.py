"""The server and project that a W&B run goes to: variables, settings files, or an open run."""

from __future__ import annotations

import configparser
import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lrtrack.errors import UsageError, unknown
from lrtrack.fields import plain
from lrtrack.records import Target
from lrtrack.redaction import bare_uri
from lrtrack.settings import working_directory
from lrtrack.trackers.shared_runs import Phase
from lrtrack.trackers.wandb import login, metadata
from lrtrack.trackers.wandb.login import DEFAULT_URL as DEFAULT_URL

NAME = "wandb"
#: What W&B takes as the name of a project.
LONGEST_PROJECT, _NOT_IN_PROJECTS = 128, "/\\#?%:"

# Variables that hold credentials, or might: they are never stored.
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL|HEADER|PROXY|PROXIES|AUTH")
# Variables that name a program to run: valid only in the process that has them.
_COMMAND = re.compile(r"EXECUTABLE|SERVICE_TRANSPORT|LAUNCH")
_SERVICE = re.compile(r"\d+-\d+-(unix-/[^\0]+|tcp-localhost-\d+)")
# Variables that have a meaning only in the process that has them.
_PROCESS_ONLY = ("WANDB_SERVICE", "WANDB_RESUME", "WANDB_RUN_ID")
# Variables about one run, or its part in a sweep; no other run may get them.
_OF_ONE_RUN = (
    *("WANDB_SERVICE", "WANDB_NAME", "WANDB_NOTES", "WANDB_SWEEP_ID"),
    *("WANDB_SWEEP_PARAM_PATH", "WANDB_RUN_GROUP", "WANDB_JOB_TYPE"),
)
# Variables about a run's destination and name: the same in every process that uploads it.
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


def new_target(experiment: str | None, default: str) -> Target:
    """A new run in `experiment`, written `[ENTITY/]PROJECT`, or in W&B's own default project.

    Raises:
        UsageError: the run would go online without an API key, or W&B's mode or the project's name
            is not valid.
    """
    variables = environment()
    check_mode(variables)
    owner, _, project = (experiment or "").rpartition("/")
    project = project or variables.get("WANDB_PROJECT") or settings_value("project") or default
    _check_project(project)
    entity = owner or variables.get("WANDB_ENTITY") or settings_value("entity")
    uri = bare_uri(variables.get("WANDB_BASE_URL") or settings_value("base_url") or "") or None
    if mode(variables) == "online":
        login.check_key(uri)
    return Target(
        NAME,
        uri,
        experiment=f"{entity}/{project}" if entity else project,
        run_id=os.environ.get("WANDB_RUN_ID") or None,
        environment=variables,
        delivers=mode(variables) != "disabled",
    )


def open_target(run: Any) -> Target:
    """The run that the user has open; another process writes to it if possible."""
    variables = environment() | {"WANDB_MODE": _mode_of(run)}
    service = os.environ.get("WANDB_SERVICE")
    if service:
        variables["WANDB_SERVICE"] = service
    server = getattr(getattr(run, "settings", None), "base_url", None)
    if isinstance(server, str) and server.rstrip("/") != DEFAULT_URL:
        variables["WANDB_BASE_URL"] = bare_uri(server)  # may be an argument of `wandb.init`
    project = getattr(run, "project", None) or "uncategorized"
    entity = getattr(run, "entity", None)
    return Target(
        NAME,
        bare_uri(variables.get("WANDB_BASE_URL", "")) or None,
        experiment=f"{entity}/{project}" if entity else project,
        run_id=run.id,
        url=getattr(run, "url", None),
        joined=True,
        environment=variables,
        delivers=mode(variables) != "disabled",
    )


def child_target(run: Any, parent: Target) -> Target:
    """A new run in the group of the open `run` of `parent`.

    If the open run has no group, the new run's group is named after the open run's id. The open run
    itself does not change.
    """
    variables = {name: text for name, text in parent.environment.items() if name not in _OF_ONE_RUN}
    variables["WANDB_RUN_GROUP"] = str(getattr(run, "group", None) or parent.run_id)
    return replace(
        parent, run_id=None, url=None, joined=False, parent=parent.run_id, environment=variables
    )


def resume_point(run: Any, prefix: str) -> tuple[int, tuple[Phase, ...]]:
    """Find the first step of a new block in a resumed run, from the data in this process.

    Args:
        run: the run that the user has open.
        prefix: of the block.

    Returns:
        The first step of the new block, and the phases before it.
    """
    if not getattr(run, "resumed", False):
        return 0, ()
    config = plain(dict(run.config)).get(metadata.CONFIG)
    block = metadata.blocks_of(config).get(prefix)
    last = run.summary.get(metadata.STEP)
    if block is None or not isinstance(last, int | float) or not 0 <= last < 2**53:
        return 0, ()
    return int(last) + 1, metadata.phases_from(block, str(run.id))


def separate_target(active: Target | None, experiment: str | None, default: str) -> Target:
    """A new run that shares no name, group or sweep with the active run or with the variables.

    Raises:
        UsageError: the run would go online, but there is no API key.
    """
    if active is None:
        target = new_target(experiment, default)
    elif experiment is None:
        target = replace(active, run_id=None, url=None, joined=False)
    else:
        target = replace(new_target(experiment, default), environment=active.environment)
        target = replace(target, delivers=active.delivers)
    variables = {name: text for name, text in target.environment.items() if name not in _OF_ONE_RUN}
    return replace(target, run_id=None, environment=variables)


def environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """W&B's variables without credentials and commands.

    Args:
        environ: variables, for example from a journal; None: those of this process, with relative
            paths made absolute.
    """
    from_process = environ is None
    variables = {
        name: bare_uri(value)
        for name, value in (os.environ if environ is None else environ).items()
        if name.startswith("WANDB_")
        and isinstance(value, str)
        and value
        and name not in _PROCESS_ONLY
        and not is_secret(name)
        and not _COMMAND.search(name)
    }
    paths = [name for name in variables if from_process and is_path(name)]
    return variables | {name: str(working_directory() / variables[name]) for name in paths}


def recorded_environment(target: Target) -> dict[str, str]:
    """The W&B variables of the training process, which a journal recorded in `target`.

    They pass the same filter as when they were written: someone who can write a journal must not be
    able to run code or to redirect credentials.
    """
    variables = environment(target.environment)
    variables.pop("WANDB_BASE_URL", None)
    if target.uri:  # it alone decides the run's server
        variables["WANDB_BASE_URL"] = target.uri
    service = target.environment.get("WANDB_SERVICE")
    if target.joined and isinstance(service, str) and _SERVICE.fullmatch(service):
        variables["WANDB_SERVICE"] = service
    return variables


def renewed_target(target: Target) -> Target:
    """The target with this process's settings in place of those of the training process.

    Destination and name of the run stay. The training's mode stays too, unless this process sets
    one: an offline run is not uploaded unless the user asks for it.

    Raises:
        UsageError: W&B is switched off in this process, or its mode is not valid.
    """
    current, recorded = environment(), recorded_environment(target)
    merged = {name: text for name, text in current.items() if name not in _OF_THE_RUN}
    merged |= {name: text for name, text in recorded.items() if name in _OF_THE_RUN}
    merged["WANDB_BASE_URL"] = target.uri or DEFAULT_URL
    check_mode(current)
    if mode(current) == "disabled":
        raise UsageError(
            "W&B is switched off by WANDB_MODE or WANDB_DISABLED. Fix: unset this variable."
        )
    recorded_mode = recorded.get("WANDB_MODE", "")
    if not (current.get("WANDB_MODE") or settings_value("mode")) and recorded_mode in _MODES:
        merged["WANDB_MODE"] = recorded_mode
    return replace(target, environment=merged)


def is_secret(name: str) -> bool:
    """Whether a W&B variable holds credentials, or might."""
    prefix = "WANDB_"
    return name.startswith(prefix) and _SECRET.search(name.removeprefix(prefix)) is not None


def is_path(name: str) -> bool:
    """Whether a W&B variable holds a path."""
    return name in _PATHS


def is_run_variable(name: str) -> bool:
    """Whether a variable of this process may describe the run that the process was started for."""
    return name.startswith("WANDB_") and not is_secret(name)


def mode(environ: Mapping[str, str]) -> str:
    """`online`, `offline`, `shared` or `disabled`."""
    if environ.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes"):
        return "disabled"
    name = environ.get("WANDB_MODE") or settings_value("mode") or "online"
    return _MODES.get(name, name)


def check_mode(environ: Mapping[str, str]) -> None:
    """Refuse an invalid mode before the training starts.

    Raises:
        UsageError: W&B has no such mode; the message lists the valid ones.
    """
    if mode(environ) in _MODES:
        return
    where = "WANDB_MODE" if environ.get("WANDB_MODE") else "mode in W&B's settings file"
    raise UsageError(unknown(f"value of {where}", mode(environ), _MODES))


def _check_project(name: str) -> None:
    """Refuse a project's name that W&B does not take.

    Raises:
        UsageError: it is too long, or has invalid characters.
    """
    invalid = "".join(sorted(set(name) & set(_NOT_IN_PROJECTS)))
    if len(name) > LONGEST_PROJECT:
        raise UsageError(
            f"The project's name {name[:20] + '…'!r} has {len(name):,} characters, and W&B takes "
            f"at most {LONGEST_PROJECT}. Fix: shorten it."
        )
    if invalid:
        raise UsageError(
            f"The project's name {name!r} has {invalid!r} in it, which W&B does not take. Fix: "
            "leave that out."
        )


def base_url() -> str | None:
    """The server's address from variables or settings files, without credentials."""
    url = os.environ.get("WANDB_BASE_URL") or settings_value("base_url") or ""
    return bare_uri(url) or None


def settings_value(key: str) -> str | None:
    """A value from W&B's settings files: the working directory's, else the user's."""
    folder = Path(os.environ.get("WANDB_DIR") or ".")
    paths = [folder / "wandb" / "settings", folder / ".wandb" / "settings"]
    with contextlib.suppress(RuntimeError):  # a user without a home directory
        home = Path(os.environ.get("WANDB_CONFIG_DIR") or Path.home() / ".config" / "wandb")
        paths.append(home / "settings")
    for path in paths:
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
    name = str(getattr(settings, "mode", "online"))
    return _MODES.get(name, name)
