"""What MLflow refuses whatever the server: said at the `with`, before any training.

MLflow itself is not imported for that, to spare the training process the import.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lrtrack.errors import UsageError
from lrtrack.settings import working_directory

#: The variable without which recent versions refuse to keep runs in plain files.
ALLOW_FILES = "MLFLOW_ALLOW_FILE_STORE"
#: MLflow's limit for the name of an experiment.
LONGEST_NAME = 500
#: How to fix a store of plain files.
FILES_FIX = (
    "keep the runs in a database, such as MLFLOW_TRACKING_URI=sqlite:///mlflow.db "
    f"(`mlflow migrate-filestore` moves existing runs), or set {ALLOW_FILES}=true"
)
#: A scheme in front of a path, as opposed to a drive letter; `databricks` has none.
_WITHOUT_SCHEME = re.compile(r"(?!databricks)(?![A-Za-z][\w+.-]+:)")


def check_store(uri: str | None) -> None:
    """Refuse a store of plain files if this version of MLflow does.

    Args:
        uri: the store; None: MLflow's default.

    Raises:
        UsageError: MLflow would refuse each request.
    """
    folder = _folder_of(uri)
    if folder is not None and not _allows_files() and _may_refuse_files():
        raise UsageError(
            f"MLflow refuses the store {folder}, which keeps runs in plain files. Fix: {FILES_FIX}."
        )


def check_experiment(name: str | None) -> None:
    """Refuse a name that no MLflow server takes.

    Raises:
        UsageError: it is too long.
    """
    if name is not None and len(name) > LONGEST_NAME:
        raise UsageError(
            f"The experiment's name {name[:20] + '…'!r} has {len(name):,} characters, and MLflow "
            f"takes at most {LONGEST_NAME}. Fix: shorten it."
        )


def _folder_of(uri: str | None) -> Path | None:
    """The directory of a store of plain files; None for any other store."""
    if uri is None:  # MLflow takes its former default where that has experiments
        folder = working_directory() / "mlruns"
        return folder if any(folder.glob("[0-9]*/meta.yaml")) else None
    if uri.startswith("file:"):
        return Path(unquote(urlsplit(uri).path))
    return working_directory() / uri if is_path(uri) else None


def is_path(uri: str) -> bool:
    """Whether a store is named by a path alone."""
    return uri != "uc" and _WITHOUT_SCHEME.match(uri) is not None


def _allows_files() -> bool:
    return os.environ.get(ALLOW_FILES, "").lower() in ("true", "1")


@lru_cache(maxsize=1)
def _may_refuse_files() -> bool:
    """Whether the installed version knows the variable."""
    try:
        origin = getattr(find_spec("mlflow"), "origin", None)
        variables = Path(origin or "").with_name("environment_variables.py")
        return ALLOW_FILES in variables.read_text(encoding="utf-8")
    except (ImportError, OSError, ValueError):
        return False
