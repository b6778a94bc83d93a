"""Configuration from the environment and the nearest `pyproject.toml`.

The first of these wins: arguments of `track()` (handled there), environment variables,
`[tool.lrtrack]` of the nearest `pyproject.toml` in the working directory or above it, defaults.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrtrack.errors import UsageError, unknown

KEYS = ("tracker", "experiment", "dir", "mlflow_tags", "norms_every", "wandb_rows", "pass_env")
#: Lists further variables for the processes that lrtrack starts.
ENV_VARIABLE = "LRTRACK_PASS_ENV"
#: The values of `wandb_rows`.
WANDB_ROWS = ALL, THIN = "all", "thin"
#: The type of each key that is not text, and how messages name it.
_KINDS: dict[str, tuple[type, str]] = {
    "mlflow_tags": (bool, "true or false"),
    "norms_every": (int, "a whole number"),
    "pass_env": (list, "a list of names"),
}
_ON, _OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off")

_own_process = False

#: Collect the youngest objects after so many new ones, the middle ones after so many such
#: collections, and all objects after so many of those.
_RARELY = (20_000, 20, 20)


def claim_process() -> None:
    """Mark this process as lrtrack's own (command line, shipper), not a user's program.

    Only in such a process may lrtrack set environment variables that configure a tracker's client,
    and decide how often garbage is collected.
    """
    global _own_process
    _own_process = True
    collect_rarely()


def collect_rarely() -> None:
    """Collect garbage rarely in this process, and not at all when it ends.

    Imports make hundreds of thousands of objects that stay. Looking through them again and again,
    and once more at the end, takes a third of the time of a short process that uses MLflow.
    """
    gc.set_threshold(*_RARELY)
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


def owns_process() -> bool:
    """Return whether `claim_process` was called."""
    return _own_process


_working_directory: Path | None = None


def work_from(directory: Path | None) -> None:
    """Use `directory` as the working directory; None restores the process's own.

    For programs whose directory is changed before the user's code runs, as Ray does with trials.
    """
    global _working_directory
    _working_directory = directory


def working_directory() -> Path:
    """Return the directory in which configuration is searched and relative paths are resolved.

    If the process's own was deleted, this is where it was: another one may be there by now.
    """
    if _working_directory is not None:
        return _working_directory
    return deleted_directory() or Path.cwd()


def leave_deleted_directory() -> Path | None:
    """Make a process of lrtrack's own work from `/` if its working directory was deleted.

    Libraries fail where there is none. Relative paths are still those of the deleted directory.

    Returns:
        The deleted directory; None if there is nothing to do.
    """
    deleted = deleted_directory()
    if deleted is not None:
        work_from(deleted)
        os.chdir("/")
    return deleted


def deleted_directory() -> Path | None:
    """Return where this process's working directory was; None if it was not deleted."""
    try:
        Path.cwd()
    except OSError:
        pass
    else:
        return None
    with contextlib.suppress(OSError):  # Linux remembers the name
        return Path(str(Path("/proc/self/cwd").readlink()).removesuffix(" (deleted)"))
    return Path(os.environ.get("PWD") or "/")


@dataclass(frozen=True)
class Settings:
    """The configuration; None means that a value is not set.

    Attributes:
        tracker: tracker names, comma-separated, as `track(tracker=)` takes them.
        experiment: MLflow experiment or W&B project.
        directory: absolute path of the journals.
        mlflow_tags: whether runs started with `mlflow.start_run()` get tags about the machine.
        quiet: whether the line that names a command at the end of a block is left out.
        norms_every: at how many steps gradient norms are computed once, as `track(norms_every=)`
            takes it.
        wandb_rows: which rows W&B gets, one of `WANDB_ROWS`.
        pass_env: names of variables, with `*` and `?` as in file names, that uploads need besides
            those that lrtrack knows.
    """

    tracker: str | None
    experiment: str | None
    directory: Path
    mlflow_tags: bool = False
    quiet: bool = False
    norms_every: int | None = None
    wandb_rows: str = ALL
    pass_env: tuple[str, ...] = ()


def read(environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Settings:
    """Read the settings that apply in `cwd`.

    Raises:
        UsageError: `pyproject.toml` is not valid TOML, `[tool.lrtrack]` has unknown keys or values
            of the wrong type, a switch variable is neither on nor off, LRTRACK_NORMS_EVERY is not
            a whole number, or another variable has an unknown value.
    """
    environ = os.environ if environ is None else environ
    cwd = working_directory() if cwd is None else cwd
    table = _tool_table(cwd)
    directory = _expanded(environ.get("LRTRACK_DIR", ""), "LRTRACK_DIR") or table.get("dir")
    wandb_rows = environ.get("LRTRACK_WANDB_ROWS", "").strip().lower()
    if wandb_rows not in ("", *WANDB_ROWS):
        raise UsageError(unknown("value for LRTRACK_WANDB_ROWS", wandb_rows, WANDB_ROWS))
    return Settings(
        tracker=environ.get("LRTRACK_TRACKER") or table.get("tracker"),
        experiment=table.get("experiment"),
        directory=(cwd / (directory or ".lrtrack")).absolute(),
        mlflow_tags=_switch(environ, "LRTRACK_MLFLOW_TAGS", table.get("mlflow_tags", False)),
        quiet=_switch(environ, "LRTRACK_QUIET", _runs_in_ci(environ)),
        norms_every=_count(environ, "LRTRACK_NORMS_EVERY", table.get("norms_every")),
        wandb_rows=wandb_rows or table.get("wandb_rows", ALL),
        pass_env=tuple(
            environ.get(ENV_VARIABLE, "").replace(",", " ").split() or table.get("pass_env", ())
        ),
    )


def passed_variables() -> tuple[str, ...]:
    """Return `Settings.pass_env`; empty if the settings cannot be read."""
    try:
        return read().pass_env
    except (UsageError, OSError):
        return ()


def _runs_in_ci(environ: Mapping[str, str]) -> bool:
    """Whether this is a job of continuous integration, where nobody types commands."""
    return environ.get("CI", "").strip().lower() not in ("", *_OFF)


def _switch(environ: Mapping[str, str], name: str, default: bool) -> bool:
    value = environ.get(name, "").strip().lower()
    if value not in ("", *_ON, *_OFF):
        raise UsageError(f"{name} must be one of {', '.join(_ON + _OFF)}; got {value!r}.")
    return value in _ON if value else default


def _count(environ: Mapping[str, str], name: str, default: int | None) -> int | None:
    value = environ.get(name, "").strip()
    if not value:
        return default
    try:
        return int(value)
    except ValueError:
        raise UsageError(f"{name} must be a whole number; got {value!r}.") from None


def _tool_table(cwd: Path) -> dict[str, Any]:
    for folder in (cwd, *cwd.parents):
        path = folder / "pyproject.toml"
        if not _is_file(path):
            continue
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise UsageError(
                f"Cannot read {path}: {error}. Fix: correct or remove the file."
            ) from error
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
        kind, kind_name = _KINDS.get(key, (str, "text"))
        if type(value) is not kind:  # not `isinstance`: true and false are also integers
            raise UsageError(
                f"In [tool.lrtrack] of {path}: {key} must be {kind_name}, not {value!r}."
            )
    if not all(isinstance(name, str) for name in table.get("pass_env", ())):
        raise UsageError(
            f"In [tool.lrtrack] of {path}: pass_env must be a list of names, not "
            f"{table['pass_env']!r}."
        )
    if table.get("wandb_rows", ALL) not in WANDB_ROWS:
        wrong = unknown("value for wandb_rows", table["wandb_rows"], WANDB_ROWS)
        raise UsageError(f"In [tool.lrtrack] of {path}: {wrong}")
    if table.get("dir"):  # relative to pyproject.toml, not to the script's directory
        where = f"dir in [tool.lrtrack] of {path}"
        return {**table, "dir": str(path.parent / _expanded(table["dir"], where))}
    return dict(table)


def _expanded(directory: str, where: str) -> str:
    try:
        return str(Path(directory).expanduser()) if directory else ""
    except RuntimeError as error:
        raise UsageError(
            f"{where} is {directory!r}: {error} Fix: write the whole path, or set HOME."
        ) from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:  # in a folder that this user may not enter
        return False
