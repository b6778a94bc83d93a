"""Where a run's columnar file is, from the address of the run's artifacts."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from lrtrack.journal import history_table
from lrtrack.trackers.mlflow.stores.base import Unsure

_SERVED = "/api/2.0/mlflow-artifacts/artifacts/"


def is_served(root: str) -> bool:
    """Whether the artifacts are those that a tracking server passes on.

    Args:
        root: the URI or the path of a run's artifacts.
    """
    return urlsplit(root).scheme == "mlflow-artifacts"


def served_path(root: str) -> str:
    """The path on its tracking server of the columnar file in a run's artifacts.

    Raises:
        Unsure: another server has the artifacts, or the address has several meanings.
    """
    parts = urlsplit(root)
    path = parts.path.strip("/")
    if (
        not is_served(root)
        or parts.netloc
        or any(sign in root for sign in "%?#\\")
        or not {"", ".", ".."}.isdisjoint(path.split("/"))
        or path.startswith("api/")
    ):
        raise Unsure("artifacts that the server does not pass on")
    return f"{_SERVED}{quote(path)}/{history_table.FOLDER}/{history_table.NAME}"


def local_file(root: str) -> Path:
    """The columnar file in a run's artifacts on this machine.

    Args:
        root: the URI or the absolute path of the run's artifacts.

    Raises:
        Unsure: the artifacts are elsewhere.
        ValueError, OSError: there is no such file, or it lies outside of the run's artifacts.
    """
    parts = urlsplit(root)
    if parts.scheme == "file" and not (parts.netloc or parts.query or parts.fragment):
        path = unquote(parts.path)
    elif root.startswith("/") and not root.startswith("//"):
        path = root
    else:
        raise Unsure("artifacts that are not on this machine")
    folder = Path(path)
    if not folder.is_dir() and "%" in root:
        raise Unsure("a path that may be quoted")
    folder = folder.resolve(strict=True)
    file = (folder / history_table.FOLDER / history_table.NAME).resolve(strict=True)
    if not file.is_relative_to(folder) or not file.is_file():
        raise ValueError("it is not a file of the run's own artifacts")
    return file
