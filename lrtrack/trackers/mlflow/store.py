"""Finding MLflow's store from any process, and telling its errors apart."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrtrack._optional import load
from lrtrack.errors import TrackerError, TrackerUnavailable
from lrtrack.settings import owns_process, redact

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: Codes after which the same request would fail again.
_FINAL = {
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "PERMISSION_DENIED",
    "RESOURCE_DOES_NOT_EXIST",
    "RESOURCE_ALREADY_EXISTS",
    "UNAUTHENTICATED",
    "ENDPOINT_NOT_FOUND",
}
_FINAL_STATUS = ("401", "403", "404")

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


@lru_cache(maxsize=64)
def client(uri: str | None, cwd: str | None) -> MlflowClient:
    """A client for the store at `uri`, as a process in `cwd` would find it.

    Args:
        uri: without credentials; None for MLflow's default there.
        cwd: against which a relative or default store is resolved; None: this process's.

    Raises:
        TrackerUnavailable, TrackerError: the store cannot be opened.
    """
    _tune()
    mlflow = load("mlflow")
    _less_talk()
    with translated(uri), working_directory(cwd):
        return mlflow.MlflowClient(tracking_uri=_absolute(uri or _default(mlflow)))


@contextmanager
def translated(uri: str | None) -> Iterator[None]:
    """Turn MLflow's exceptions into lrtrack's two kinds: later, or never."""
    exceptions = load("mlflow.exceptions")
    where = f"MLflow at {redact(uri)}" if uri else "MLflow's default store"
    try:
        yield
    except exceptions.MlflowException as error:
        message = f"{where}: {redact(_reason(error))[:500]}"
        if _final(error):
            raise TrackerError(message) from error
        raise TrackerUnavailable(message, _retry_after(error)) from error
    except OSError as error:
        raise TrackerUnavailable(f"{where}: {redact(str(error))[:500]}") from error


def page(uri: str, experiment_id: str, run_id: str) -> str | None:
    """Where people look at a run; None for a store without a server."""
    if not uri.startswith(("http://", "https://")):
        return None
    return f"{redact(uri).rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}"


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
    relative = uri.removeprefix("sqlite:///")
    if relative != uri and not relative.startswith(("/", ":")):
        return f"sqlite:///{Path.cwd() / relative}"
    if "://" not in uri and not uri.startswith(("file:", "databricks")):
        return (Path.cwd() / uri).as_uri()
    return uri


def _reason(error: BaseException) -> str:
    """What went wrong, without the wrappings of three libraries around a refused connection."""
    text = str(error)
    system = re.search(r"\[Errno -?\d+\] ([^\"')]+)", text)
    if "failed with exception" in text and system is not None:
        return f"cannot be reached ({system[1].strip()})"
    return text.splitlines()[0] if text else repr(error)


def _final(error: Any) -> bool:
    if getattr(error, "error_code", "") in _FINAL:
        return True
    text = str(error)
    return any(f"error code {status}" in text or f"error {status}" in text
               for status in _FINAL_STATUS)  # fmt: skip


def _retry_after(error: Any) -> float | None:
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    headers: Any = getattr(response, "headers", {})
    try:
        return float(headers["Retry-After"])
    except (KeyError, TypeError, ValueError):
        return None


def _tune() -> None:
    # By default MLflow tries seven times, two minutes each: lrtrack has its own patience, between
    # attempts and without holding up other runs.
    if owns_process():
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # It would print the address with the credentials in it.
        os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


def _less_talk() -> None:
    # Database migrations at the first use of a store are not news to someone who trains.
    for name in ("alembic", "mlflow.store.db.utils", "mlflow.tracking"):
        logging.getLogger(name).setLevel(logging.WARNING)
