"""MLflow's exceptions as temporary or final errors, and requests that are sent only once.

MLflow retries every request that was not answered, even "create a run", which then creates two.
lrtrack switches these retries off and asks what the server has before it sends anything again.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypeVar

from lrtrack._optional import load
from lrtrack.errors import AccessRefused, TrackerError, TrackerUnavailable
from lrtrack.redaction import redact
from lrtrack.trackers.causes import connection_trouble, shortened
from lrtrack.trackers.mlflow import limits
from lrtrack.trackers.mlflow.client_settings import credentials_fix

#: Seconds to wait for an answer of a server, unless the user has set another limit.
TIMEOUT = 20
TIMEOUT_VARIABLE = "MLFLOW_HTTP_REQUEST_TIMEOUT"
#: Seconds between attempts to read, and the longest pause that a server may ask a reader for.
RETRY_PAUSES = (0.5, 1.0, 2.0)
MAX_PAUSE = 30.0

#: Codes of errors that the same request would meet again.
_FINAL_CODES = {
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "PERMISSION_DENIED",
    "RESOURCE_DOES_NOT_EXIST",
    "RESOURCE_ALREADY_EXISTS",
    "UNAUTHENTICATED",
    "ENDPOINT_NOT_FOUND",
}
_ACCESS_CODES = ("PERMISSION_DENIED", "UNAUTHENTICATED")
_FINAL_STATUS = ("401", "403", "404")
#: Statuses 4xx that are temporary; all others would come again.
_TEMPORARY_STATUS = (408, 409, 425, 429, 499)
#: SQLAlchemy's exceptions for a database that cannot be reached at the moment.
_TEMPORARY_DATABASE_ERRORS = ("OperationalError", "InterfaceError", "TimeoutError")
#: The same errors in a message of MLflow's, which calls them bad requests: SQLAlchemy's numbers.
_TEMPORARY_TEXT = re.compile(r"sqlalche\.me/e/\d+/(3o7r|e3q8|rvf5)\b")
#: MLflow's message for an answer that did not come from an MLflow server.
_FOREIGN_ANSWER = re.compile(r"failed with error code \d+ != \d+\. Response body: '(.*)", re.DOTALL)
_STATUS_FIXES = {
    404: "check that this is the address of an MLflow server",
    413: "raise the upload limit of the proxy in front of the server (client_max_body_size)",
}
#: The packages of databases and artifact stores, by the module that MLflow fails to import.
_PACKAGES = {
    "psycopg": "'psycopg[binary]'",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "google": "google-cloud-storage",
    "azure": "azure-storage-blob azure-identity",
    "pysftp": "pysftp",
    "pyarrow": "pyarrow",
}

#: The function through which MLflow sends every request to its server.
_SENDER = "_get_http_response_with_retries"
_lock = threading.Lock()

T = TypeVar("T")


class LastResponse:
    """Status and `Retry-After` of the last response; None before the first one."""

    status: int | None = None
    retry_after: float | None = None

    def record(self, response: Any) -> None:
        """Keep what decides whether, and when, to send the request again."""
        self.status = int(response.status_code)
        self.retry_after = retry_after_seconds(response.headers.get("Retry-After"))


_last_response: ContextVar[LastResponse | None] = ContextVar(
    "lrtrack_mlflow_response", default=None
)


@contextmanager
def send_once() -> Iterator[LastResponse]:
    """Send each request of this thread to MLflow's server once, without retries, in the block.

    Requests of the user's own code, before, after and on other threads, do not change.

    Yields:
        The last response, updated with each request.
    """
    _patch_sender()
    response = LastResponse()
    token = _last_response.set(response)
    try:
        yield response
    finally:
        _last_response.reset(token)


@contextmanager
def translate_errors(uri: str | None) -> Iterator[None]:
    """Send each request once, and translate MLflow's exceptions into those of lrtrack.

    Raises:
        TrackerUnavailable: a temporary failure.
        AccessRefused: the server refuses the credentials.
        TrackerError: any other final failure.
    """
    exceptions = load("mlflow.exceptions")
    where = f"MLflow at {redact(uri)}" if uri else "MLflow's default store"
    with send_once() as response:
        try:
            yield
        except (exceptions.MlflowException, OSError) as error:
            # OSError comes from `requests`, when files are transferred.
            message = f"{where}: {_describe(error, response)}"
            if _is_final(error, response):
                refused = response.status in (401, 403) or _code(error) in _ACCESS_CODES
                error_type = AccessRefused if refused else TrackerError
                raise error_type(message, _fix(error, response)) from error
            raise TrackerUnavailable(message, response.retry_after) from error
        except ModuleNotFoundError as error:  # the package of a database or a cloud
            raise TrackerError(f"{where} {_missing_package(error)}") from error
        except Exception as error:
            if not type(error).__module__.startswith("sqlalchemy"):
                raise
            temporary = type(error).__name__ in _TEMPORARY_DATABASE_ERRORS
            kind = TrackerUnavailable if temporary else TrackerError
            raise kind(f"{where}: {_describe(error, response)}") from error


def with_retries(uri: str | None, request: Callable[[], T]) -> T:
    """Return the result of `request`, retried a few times after temporary failures.

    Only for requests that may be sent twice. A pause that the server asks for is kept, up to
    `MAX_PAUSE` seconds.

    Raises:
        TrackerUnavailable: the server does not answer, or asks for a longer pause.
        TrackerError: the server refuses the request.
    """
    for pause in RETRY_PAUSES:
        try:
            with translate_errors(uri):
                return request()
        except TrackerUnavailable as error:
            wait = error.retry_after or 0.0
            if wait > MAX_PAUSE:
                raise TrackerUnavailable(f"{error}; try again in {wait:.0f} s", wait) from error
            time.sleep(max(pause, wait))
    with translate_errors(uri):
        return request()


def retry_after_seconds(header: str | None) -> float | None:
    """The seconds that a `Retry-After` header, seconds or a date, asks for; None: it is invalid."""
    text = (header or "").strip()
    if re.fullmatch(r"\d+(\.\d*)?", text, re.ASCII):
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def _patch_sender() -> None:
    """Wrap the function that sends MLflow's requests; only `send_once` changes what it does."""
    rest = load("mlflow.utils.rest_utils")
    with _lock:
        original = getattr(rest, _SENDER, None)
        if original is None or hasattr(original, "lrtrack"):
            return
        signature = inspect.signature(original)
        if not {"max_retries", "raise_on_status", "kwargs"} <= set(signature.parameters):
            return  # another version of MLflow: only the variables that `store` sets apply

        @functools.wraps(original)
        def send(*args: Any, **kwargs: Any) -> Any:
            last = _last_response.get()
            if last is None:
                return original(*args, **kwargs)
            bound = signature.bind(*args, **kwargs)
            # An exception for the status would hide the response's headers.
            bound.arguments.update(max_retries=0, raise_on_status=False)
            if TIMEOUT_VARIABLE not in os.environ:
                bound.arguments.setdefault("kwargs", {})["timeout"] = TIMEOUT
            last.status = last.retry_after = None
            response = original(*bound.args, **bound.kwargs)
            last.record(response)
            return response

        vars(send)["lrtrack"] = True
        setattr(rest, _SENDER, send)


def _missing_package(error: ModuleNotFoundError) -> str:
    """Which package of a database or an artifact store is missing, and how to install it."""
    module = (error.name or "").partition(".")[0]
    fix = f". Fix: pip install {_PACKAGES.get(module, module)}" if module else ""
    return f"needs a package that is not installed here ({error}){fix}"


def _describe(error: BaseException, response: LastResponse) -> str:
    """The cause of an error, without credentials and the layers that three libraries add."""
    text = redact(str(error).strip())  # first: half of a login would not look like one
    status = response.status or 0
    foreign = _FOREIGN_ANSWER.search(text)
    if foreign is not None and status in set(HTTPStatus):
        body = foreign[1].rstrip("'").strip()
        first = "" if body.startswith("<") or not body else body.splitlines()[0]
        quoted = f", {shortened(first, 200)!r}" if first else ""
        text = f"answers {status} ({HTTPStatus(status).phrase}){quoted}"
    fix = _STATUS_FIXES.get(status, "") if _code(error) != "RESOURCE_DOES_NOT_EXIST" else ""
    return shortened(_first_cause(text, error), 500) + (f". Fix: {fix}" if fix else "")


def _fix(error: BaseException, response: LastResponse) -> str:
    """How to fix refused credentials; empty if they were not refused."""
    refused = response.status in (401, 403) and _code(error) != "RESOURCE_DOES_NOT_EXIST"
    return credentials_fix(response.status or 0) if refused else ""


def _first_cause(text: str, error: BaseException) -> str:
    if limits.ALLOW_FILES in text:
        return f"keeps runs in plain files, which MLflow refuses. Fix: {limits.FILES_FIX}"
    if "failed with exception" in text or isinstance(error, OSError):
        trouble = connection_trouble(text)
        if trouble is not None:
            return trouble
    driver = re.search(r"^\((?:\w+\.)+\w+\) (.+)$", text, re.MULTILINE)
    if "sqlalche.me" in text and driver is not None:
        return driver[1]
    return text.splitlines()[0] if text else redact(repr(error))


def _code(error: Any) -> str:
    return str(getattr(error, "error_code", ""))


def _is_final(error: BaseException, response: LastResponse) -> bool:
    """Whether the same request would fail again."""
    text = str(error)
    if _TEMPORARY_TEXT.search(text):
        return False
    status = response.status or 0
    if status >= 500 or status in _TEMPORARY_STATUS:
        return _code(error) == "INVALID_STATE"  # MLflow sends it with a status 5xx
    if _code(error) in _FINAL_CODES or 400 <= status < 500:  # other servers send no code
        return True
    return any(f"error code {final}" in text or f"error {final}" in text
               for final in _FINAL_STATUS)  # fmt: skip
