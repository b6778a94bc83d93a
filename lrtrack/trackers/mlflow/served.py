"""How the pages of runs are opened whose store is a file or a folder, without a server."""

from __future__ import annotations

import re
import shlex

from lrtrack.records import ServedPage
from lrtrack.redaction import bare_uri
from lrtrack.trackers.mlflow.store import run_url

#: Where `mlflow ui` listens unless it is told otherwise.
SERVER = "http://127.0.0.1:5000"
_STORE = re.compile(r"sqlite(\+\w+)?:///(?!:memory:)[^?]|file:///?[^/?]")
_DRIVE = re.compile(r"(sqlite(\+\w+)?|file):///[A-Za-z]:[\\/]")
_PLAIN = re.compile(r"[\w@+=:,.~/\\-]+")


def served_page(uri: str, experiment_id: str, run_id: str) -> ServedPage | None:
    """The page of a run in a local store; None for other stores, and for a URI with credentials.

    Args:
        uri: the store's tracking URI, with an absolute path.
        experiment_id: MLflow's id of the experiment.
        run_id: MLflow's id of the run.
    """
    if _STORE.match(uri) is None or bare_uri(uri) != uri or "mode=memory" in uri:
        return None
    url = run_url(SERVER, experiment_id, run_id)
    return None if url is None else ServedPage(f"mlflow ui --backend-store-uri {_quoted(uri)}", url)


def _quoted(uri: str) -> str:
    """A URI as one argument: of Windows' shells if its path has a drive letter, else of POSIX's."""
    if _DRIVE.match(uri) is None:
        return shlex.quote(uri)
    return uri if _PLAIN.fullmatch(uri) else f'"{uri}"'  # no path has quotes there
