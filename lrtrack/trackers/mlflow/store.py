"""Clients for an MLflow store, which every process resolves in the same way."""

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

from lrtrack import settings
from lrtrack._optional import load
from lrtrack.errors import NothingFound, TrackerUnavailable
from lrtrack.redaction import bare_uri, redact
from lrtrack.settings import owns_process
from lrtrack.trackers.causes import refused_connection
from lrtrack.trackers.mlflow import limits
from lrtrack.trackers.mlflow.client_settings import remember_credentials
from lrtrack.trackers.mlflow.errors import TIMEOUT, TIMEOUT_VARIABLE, translate_errors
from lrtrack.trackers.mlflow.lean_import import load_mlflow

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: Matches the beginning of a database's URI.
DATABASE = re.compile(r"(sqlite|postgresql|mysql|mssql)(\+\w+)?://")
#: The address of a SQLite database whose path needs no quoting and has no options.
PLAIN_SQLITE = re.compile(r"sqlite:///[\w./+,=~-]+", re.ASCII)
#: Seconds to wait for a connection while the user waits.
_CONNECT_TIMEOUT = 5.0

_directory_lock = threading.Lock()


@contextmanager
def working_directory(path: str | None) -> Iterator[None]:
    """Change the working directory to `path` during the block.

    MLflow resolves relative stores against the working directory. All paths of lrtrack itself are
    absolute, so its other threads are not affected.
    """
    with _directory_lock:
        before = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # may be deleted already
        try:
            if path and Path(path).is_dir():
                os.chdir(path)
            yield
        finally:
            os.fchdir(before)
            os.close(before)


def client(uri: str | None, cwd: str | None) -> MlflowClient:
    """Return a client for the store at `uri`, resolved as a process in `cwd` would.

    Args:
        uri: without credentials; None: MLflow's default.
        cwd: the directory for a relative or default store; None: this process's.

    Raises:
        TrackerUnavailable, TrackerError: the store cannot be opened.
    """
    # The cache key has everything that decides the store: a notebook may change its directory or
    # the variable.
    return _client(
        uri, cwd or str(settings.working_directory()), os.environ.get("MLFLOW_TRACKING_URI")
    )


@lru_cache(maxsize=64)
def _client(uri: str | None, cwd: str, _environment: str | None) -> MlflowClient:
    _set_client_defaults()
    remember_credentials()
    mlflow = load_mlflow()
    _quiet_loggers()
    with translate_errors(uri), working_directory(cwd):
        if not Path(cwd).is_dir() and _is_relative(uri):
            raise TrackerUnavailable(f"the directory {cwd}, where the store would be, is missing")
        absolute = _absolute(uri or _default(mlflow))
        if owns_process() and DATABASE.match(absolute):
            # A database that is down would otherwise block all other runs for 90 seconds.
            databases: Any = load("mlflow.store.db.utils")
            databases.MAX_RETRY_COUNT = 1
        return mlflow.MlflowClient(tracking_uri=absolute)


def open_existing(uri: str | None) -> MlflowClient:
    """Return a client that reads a store, without creating a missing one.

    Raises:
        NothingFound: there is no store yet.
        TrackerUnavailable, TrackerError: the store cannot be opened.
    """
    _set_client_defaults()
    with translate_errors(uri):
        absolute = _absolute(uri or _default(load_mlflow()))
        require_existing(absolute)
        check_reachable(absolute)
    return client(uri, str(settings.working_directory()))


def require_existing(uri: str) -> None:
    """Fail if opening the store at an absolute `uri` would create it.

    Raises:
        NothingFound: there is no store yet.
    """
    if _is_missing(uri):
        raise NothingFound(
            f"{redact(uri)}: no store there yet. Fix: change to the directory where you "
            "trained, or name the store with --tracking-uri or MLFLOW_TRACKING_URI."
        )


#: Switch off a progress bar for each file, and printed addresses, which may contain credentials.
_QUIET_VARIABLES = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress MLflow's output during the block, unless the user asked for it."""
    added = [name for name in _QUIET_VARIABLES if name not in os.environ]
    os.environ.update({name: _QUIET_VARIABLES[name] for name in added})
    log = logging.getLogger("mlflow.store.db.utils")  # it logs each exception with a traceback
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
        for name in added:
            os.environ.pop(name, None)


def run_url(uri: str, experiment_id: str, run_id: str) -> str | None:
    """The address of a run's page; None for a store without a server."""
    if not uri.startswith(("http://", "https://")):
        return None
    address = f"{bare_uri(uri).rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}"
    # Without the parameter, MLflow 3 shows the run as one of GenAI; other versions ignore it.
    return f"{address}?workflowType=machine_learning"


def _default(mlflow: Any) -> str:
    # `set_tracking_uri` also sets the variable, for child processes. A run without a URI was
    # started with neither of them, so the variable must not count here.
    saved = os.environ.pop("MLFLOW_TRACKING_URI", None)
    try:
        return str(mlflow.get_tracking_uri())
    finally:
        if saved is not None:
            os.environ["MLFLOW_TRACKING_URI"] = saved


def _is_relative(uri: str | None) -> bool:
    """Whether a store's place depends on the working directory."""
    if uri is None or (limits.is_path(uri) and not Path(uri).is_absolute()):
        return True
    return re.match(r"sqlite(\+\w+)?:///(?!/|$)", uri) is not None


def _absolute(uri: str) -> str:
    """Resolve a store against the working directory, and restore its credentials."""
    uri = with_credentials(uri)
    if uri.startswith("sqlite"):
        return absolute_sqlite(uri)
    parts = urlsplit(uri)
    if parts.scheme == "file" and not parts.netloc:
        return (Path.cwd() / unquote(parts.path)).as_uri()
    if not parts.scheme and "://" not in uri and not uri.startswith("databricks"):
        return (Path.cwd() / uri).as_uri()
    return uri


def with_credentials(uri: str) -> str:
    """The address together with its credentials, if the variable has them."""
    environment = os.environ.get("MLFLOW_TRACKING_URI", "")
    return environment if environment and bare_uri(environment) == uri else uri


def absolute_sqlite(uri: str) -> str:
    """The address of a SQLite database with its path resolved against the working directory."""
    if PLAIN_SQLITE.fullmatch(uri):
        absolute = f"sqlite:///{Path.cwd() / uri.removeprefix('sqlite:///')}"
        if PLAIN_SQLITE.fullmatch(absolute):
            return absolute
    make_url = load("sqlalchemy.engine").make_url
    url = make_url(uri)
    if not url.database or url.database == ":memory:" or "uri" in url.query:
        return uri
    url = url.set(database=str(Path.cwd() / url.database))
    # Quote the path only if necessary: MLflow also creates a directory of the quoted name.
    plain = f"{url.drivername}:///{url.database}"
    return plain if make_url(plain) == url else str(url.render_as_string(hide_password=False))


def _is_missing(uri: str) -> bool:
    """Whether opening the store at an absolute `uri` would create it on this machine."""
    if uri.startswith("file:"):
        folder = Path(unquote(urlsplit(uri).path))
        return not folder.is_dir() or not any(folder.iterdir())
    if uri.startswith("sqlite"):
        database = uri.removeprefix("sqlite:///")
        if not PLAIN_SQLITE.fullmatch(uri):
            url = load("sqlalchemy.engine").make_url(uri)
            database = "" if "uri" in url.query else url.database or ""
        if database and database != ":memory:":
            file = Path(database)
            return not file.exists() or (file.is_file() and file.stat().st_size == 0)
    return False


def check_reachable(uri: str) -> None:
    """Fail immediately if the store does not answer; MLflow itself would retry for minutes.

    Raises:
        TrackerUnavailable: no connection to the server can be established.
        Exception: an error of the database's driver.
    """
    if DATABASE.match(uri):
        sqlalchemy = load("sqlalchemy")
        engine = sqlalchemy.create_engine(uri)
        try:
            sqlalchemy.inspect(engine)
        finally:
            engine.dispose()
    elif uri.startswith(("http://", "https://")):
        try:
            urlopen(Request(bare_uri(uri), method="HEAD"), timeout=_CONNECT_TIMEOUT).close()  # noqa: S310
        except (OSError, ValueError, HTTPException) as error:
            # Any response, and a slow one, is left to MLflow; only a failed connection counts.
            unreachable: tuple[type[OSError], ...] = (ConnectionError,)
            reason: object = error
            if isinstance(error, URLError):  # before the connection was established
                reason = error.reason
                unreachable = (*unreachable, TimeoutError, socket.gaierror)
            if isinstance(reason, unreachable):
                cause = getattr(reason, "strerror", None) or str(reason)
                raise TrackerUnavailable(
                    f"MLflow at {redact(uri)}: {refused_connection(uri, cause)}"
                ) from error


def _set_client_defaults() -> None:
    # By default MLflow tries seven times, two minutes each. lrtrack retries by itself, without
    # blocking other runs. Variables also reach the threads that MLflow starts.
    if owns_process():
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        os.environ.setdefault(TIMEOUT_VARIABLE, str(TIMEOUT))
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # MLflow would print the address together with the credentials in it.
        os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


def _quiet_loggers() -> None:
    # Messages about database migrations at the first use of a store are noise in a training log.
    for name in ("alembic", "mlflow.store.db.utils", "mlflow.tracking"):
        logging.getLogger(name).setLevel(logging.WARNING)
