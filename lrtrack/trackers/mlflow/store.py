"""Finding MLflow's store from any process."""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from lrtrack._optional import load
from lrtrack.errors import NothingFound, TrackerUnavailable
from lrtrack.settings import owns_process, redact
from lrtrack.trackers.mlflow.errors import TIMEOUT, TIMEOUT_VARIABLE, translated

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: The databases that MLflow keeps stores in, as their URIs begin.
_DATABASE = re.compile(r"(sqlite|postgresql|mysql|mssql)(\+\w+)?://")
#: Seconds that a server may take to accept a connection from someone who waits for it.
_PATIENCE = 5.0

_directory_lock = threading.Lock()


@contextmanager
def working_directory(path: str | None) -> Iterator[None]:
    """Work in `path` for a moment: MLflow resolves relative stores against the process's own.

    All of lrtrack's own paths are absolute, so other threads do not notice.
    """
    with _directory_lock:
        before = Path.cwd()
        try:
            if path and Path(path).is_dir():
                os.chdir(path)
            yield
        finally:
            os.chdir(before)


def client(uri: str | None, cwd: str | None) -> MlflowClient:
    """A client for the store at `uri`, as a process in `cwd` would find it.

    Args:
        uri: without credentials; None for MLflow's default there.
        cwd: against which a relative or default store is resolved; None: this process's.

    Raises:
        TrackerUnavailable, TrackerError: the store cannot be opened.
    """
    # All that decides which store it is: a notebook may change its directory or the variable.
    return _client(uri, cwd or str(Path.cwd()), os.environ.get("MLFLOW_TRACKING_URI"))


@lru_cache(maxsize=64)
def _client(uri: str | None, cwd: str, _environment: str | None) -> MlflowClient:
    _tune()
    mlflow = load("mlflow")
    _less_talk()
    with translated(uri), working_directory(cwd):
        found = _absolute(uri or _default(mlflow))
        if owns_process() and _DATABASE.match(found):
            # A database that is down would hold up all other runs for a minute and a half.
            databases: Any = load("mlflow.store.db.utils")
            databases.MAX_RETRY_COUNT = 1
        return mlflow.MlflowClient(tracking_uri=found)


def existing(uri: str | None) -> MlflowClient:
    """A client for a store to be read: where there is none, none is made.

    Raises:
        NothingFound: no store there yet.
        TrackerUnavailable, TrackerError: the store cannot be opened.
    """
    _tune()
    with translated(uri):
        found = _absolute(uri or _default(load("mlflow")))
        if _absent(found):
            raise NothingFound(
                f"{redact(found)}: no store there yet. Go to the directory where the training "
                "ran, or say where the store is with --tracking-uri or MLFLOW_TRACKING_URI."
            )
        _knock(found)
    return client(uri, str(Path.cwd()))


#: What MLflow is told to keep to itself: a progress bar for each file, and addresses that may have
#: credentials in them.
_QUIET = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@contextmanager
def quiet() -> Iterator[None]:
    """Without MLflow's own words where the user has not asked for them; errors are raised."""
    added = [name for name in _QUIET if name not in os.environ]
    os.environ.update({name: _QUIET[name] for name in added})
    log = logging.getLogger("mlflow.store.db.utils")  # it logs what it raises, with a traceback
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
        for name in added:
            os.environ.pop(name, None)


def page(uri: str, experiment_id: str, run_id: str) -> str | None:
    """Where people look at a run; None for a store without a server."""
    if not uri.startswith(("http://", "https://")):
        return None
    place = f"{redact(uri).rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}"
    # Without it, MLflow 3 shows the run among evaluations of chat bots; others ignore it.
    return f"{place}?workflowType=machine_learning"


def _default(mlflow: Any) -> str:
    # MLflow puts what `set_tracking_uri` was told into the variable, for its child processes; a
    # run without a URI was started by someone who had set neither.
    saved = os.environ.pop("MLFLOW_TRACKING_URI", None)
    try:
        return str(mlflow.get_tracking_uri())
    finally:
        if saved is not None:
            os.environ["MLFLOW_TRACKING_URI"] = saved


def _absolute(uri: str) -> str:
    """Resolve a store against the working directory, and give it its credentials back."""
    environment = os.environ.get("MLFLOW_TRACKING_URI", "")
    if environment and redact(environment) == uri:
        uri = environment
    if uri.startswith("sqlite"):
        return _absolute_sqlite(uri)
    parts = urlsplit(uri)
    if parts.scheme == "file" and not parts.netloc:
        return (Path.cwd() / unquote(parts.path)).as_uri()
    if not parts.scheme and "://" not in uri and not uri.startswith("databricks"):
        return (Path.cwd() / uri).as_uri()
    return uri


def _absolute_sqlite(uri: str) -> str:
    make_url = load("sqlalchemy.engine").make_url
    url = make_url(uri)
    if not url.database or url.database == ":memory:" or "uri" in url.query:
        return uri
    url = url.set(database=str(Path.cwd() / url.database))
    # Quoted only where it must be: beside the file, MLflow makes a directory of the quoted name.
    plain = f"{url.drivername}:///{url.database}"
    return plain if make_url(plain) == url else str(url.render_as_string(hide_password=False))


def _absent(uri: str) -> bool:
    """Whether an absolute `uri` is a place on this machine where opening a store would make it."""
    if uri.startswith("file:"):
        folder = Path(unquote(urlsplit(uri).path))
        return not folder.is_dir() or not any(folder.iterdir())
    if uri.startswith("sqlite"):
        url = load("sqlalchemy.engine").make_url(uri)
        if url.database and url.database != ":memory:" and "uri" not in url.query:
            file = Path(url.database)
            return not file.exists() or (file.is_file() and file.stat().st_size == 0)
    return False


def _knock(uri: str) -> None:
    """Fail at once where nobody answers: MLflow itself would try for minutes."""
    if _DATABASE.match(uri):
        sqlalchemy = load("sqlalchemy")
        engine = sqlalchemy.create_engine(uri)
        try:
            sqlalchemy.inspect(engine)
        finally:
            engine.dispose()
    elif uri.startswith(("http://", "https://")):
        try:
            urlopen(Request(redact(uri), method="HEAD"), timeout=_PATIENCE).close()  # noqa: S310
        except (OSError, ValueError, HTTPException) as error:
            # Any answer is for MLflow to understand, and a slow one is for MLflow to wait for.
            nobody: tuple[type[OSError], ...] = (ConnectionError,)
            reason: object = error
            if isinstance(error, URLError):  # before the connection stood
                reason, nobody = error.reason, (*nobody, TimeoutError, socket.gaierror)
            if isinstance(reason, nobody):
                said = getattr(reason, "strerror", None) or str(reason)
                raise TrackerUnavailable(
                    f"MLflow at {redact(uri)}: cannot be reached ({said})"
                ) from error


def _tune() -> None:
    # By default MLflow tries seven times, two minutes each: lrtrack has its own patience, between
    # attempts and without holding up other runs. Here for the threads that MLflow starts.
    if owns_process():
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        os.environ.setdefault(TIMEOUT_VARIABLE, str(TIMEOUT))
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # It would print the address with the credentials in it.
        os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


def _less_talk() -> None:
    # Database migrations at the first use of a store are not news to someone who trains.
    for name in ("alembic", "mlflow.store.db.utils", "mlflow.tracking"):
        logging.getLogger(name).setLevel(logging.WARNING)
