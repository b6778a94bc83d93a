"""What the environment and the nearest `pyproject.toml` say, in one value.

Order, first wins: arguments of `track()` (not here), environment variables, `[tool.lrtrack]`
of the nearest `pyproject.toml` upwards from the working directory, defaults.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrtrack.errors import UsageError, unknown

KEYS = ("tracker", "experiment", "dir", "mlflow_tags")
#: Those that are switches; the others are text.
_SWITCHES = ("mlflow_tags",)
_ON, _OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off")

# `scheme://user:password@host`: up to the last @ of the authority, as a password may hold one.
# After `user:` up to the last @ at all: a password that was not quoted may hold / ? and # too.
_USERINFO = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?:[^/\s?#:@]*:\S*|[^/\s?#]*)@",
)
_SECRET_QUERY = re.compile(
    r"(?i)([?&;#][\w.-]*(?:password|passwd|pwd|token|api_?key|secret|signature|sig|credential)"
    r"[\w.-]*=)[^&\s]+"
)


_own_process = False


def claim_process() -> None:
    """Say that this process is lrtrack's own (command line, shipper) and not a user's program.

    Only then may a tracker's client be tuned through its environment variables.
    """
    global _own_process
    _own_process = True


def owns_process() -> bool:
    """Whether `claim_process` was called."""
    return _own_process


_place: Path | None = None


def work_from(directory: Path | None) -> None:
    """Take `directory` for the working directory, wherever the process is; None: where it is.

    For programs that are moved elsewhere before the user's code runs, as Ray moves its trials.
    """
    global _place
    _place = directory


def working_directory() -> Path:
    """Where configuration is looked for, and what relative paths of the user are relative to."""
    return _place or Path.cwd()


@dataclass(frozen=True)
class Settings:
    """Configuration as found; None means "not said".

    Attributes:
        tracker: tracker names, comma-separated, as `track(tracker=)` takes them.
        experiment: MLflow experiment or W&B project.
        directory: where journals live, absolute.
        mlflow_tags: whether runs that `mlflow.start_run()` begins get tags about the machine.
    """

    tracker: str | None
    experiment: str | None
    directory: Path
    mlflow_tags: bool = False


def read(environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Settings:
    """Collect the settings that hold in `cwd`.

    Raises:
        UsageError: `pyproject.toml` is not valid TOML, `[tool.lrtrack]` has unknown keys or values
            of another kind, or a variable that is a switch says neither on nor off.
    """
    environ = os.environ if environ is None else environ
    cwd = working_directory() if cwd is None else cwd
    table = _tool_table(cwd)
    directory = _expanded(environ.get("LRTRACK_DIR", ""), "LRTRACK_DIR") or table.get("dir")
    return Settings(
        tracker=environ.get("LRTRACK_TRACKER") or table.get("tracker"),
        experiment=table.get("experiment"),
        directory=(cwd / (directory or ".lrtrack")).absolute(),
        mlflow_tags=_switch(environ, "LRTRACK_MLFLOW_TAGS", table.get("mlflow_tags", False)),
    )


def _switch(environ: Mapping[str, str], name: str, default: bool) -> bool:
    said = environ.get(name, "").strip().lower()
    if said not in ("", *_ON, *_OFF):
        raise UsageError(f"{name} must be one of {', '.join(_ON + _OFF)}; got {said!r}")
    return said in _ON if said else default


def _tool_table(cwd: Path) -> dict[str, Any]:
    for folder in (cwd, *cwd.parents):
        path = folder / "pyproject.toml"
        if not path.is_file():
            continue
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise UsageError(f"Cannot read {path}: {error}. Mend or move the file.") from error
        tool = content.get("tool", {})
        table = tool.get("lrtrack", {}) if isinstance(tool, dict) else {}
        return _checked(table, path)
    return {}


def _checked(table: object, path: Path) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise UsageError(f"[tool.lrtrack] in {path} must be a table.")
    for key, value in table.items():
        if key not in KEYS:
            raise UsageError(f"In [tool.lrtrack] of {path}: {unknown('key', key, KEYS)}")
        kind, words = (bool, "true or false") if key in _SWITCHES else (str, "text")
        if not isinstance(value, kind):
            raise UsageError(f"In [tool.lrtrack] of {path}: {key} must be {words}, not {value!r}.")
    if table.get("dir"):  # relative to the file that says it, not to wherever the script runs
        where = f"dir in [tool.lrtrack] of {path}"
        return {**table, "dir": str(path.parent / _expanded(table["dir"], where))}
    return dict(table)


def _expanded(directory: str, where: str) -> str:
    try:
        return str(Path(directory).expanduser()) if directory else ""
    except RuntimeError as error:
        raise UsageError(f"{where} is {directory!r}: {error}") from error


def redact(text: str) -> str:
    """Strip credentials from every URI in `text`, so that it may be shown, logged or stored."""
    return _SECRET_QUERY.sub(r"\1***", _USERINFO.sub(r"\g<scheme>", text))
