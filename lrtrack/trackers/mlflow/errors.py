"""What MLflow's refusals mean: later, or never. And that each request is sent once.

By itself MLflow sends again what was not answered, even "create a run", of which the server then
has two. lrtrack asks what is there before it sends anything again.
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
from lrtrack.settings import redact
from lrtrack.trackers.mlflow.client_settings import refusal

#: Seconds that a server may take for an answer, where the user has not said otherwise.
TIMEOUT = 20
TIMEOUT_VARIABLE = "MLFLOW_HTTP_REQUEST_TIMEOUT"
#: Seconds between attempts to read, and the longest pause that a reader keeps for a server.
PAUSES = (0.5, 1.0, 2.0)
LONGEST = 30.0

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
_ACCESS = ("PERMISSION_DENIED", "UNAUTHENTICATED")
_FINAL_STATUS = ("401", "403", "404")
#: The client's errors that are none of its own making: all others would come again.
_LATER_STATUS = (408, 409, 425, 429, 499)
#: What SQLAlchemy raises for a database that cannot be reached, and may be later.
_DATABASE_LATER = ("OperationalError", "InterfaceError", "TimeoutError")
#: The same in the text that MLflow makes of it, and calls a bad request: SQLAlchemy's own numbers.
_LATER_TEXT = re.compile(r"sqlalche\.me/e/\d+/(3o7r|e3q8|rvf5)\b")
#: What MLflow says of an answer that is not its own server's.
_FOREIGN = re.compile(r"failed with error code \d+ != \d+\. Response body: '(.*)", re.DOTALL)
_ADVICE = {
    404: "look whether this is the address of an MLflow server",
    413: "raise the limit for uploads of the proxy before the server (client_max_body_size)",
}
#: The packages of artifact stores, by the module that MLflow misses.
_PACKAGES = {
    "google": "google-cloud-storage",
    "azure": "azure-storage-blob azure-identity",
    "pysftp": "pysftp",
    "pyarrow": "pyarrow",
}

#: The function through which MLflow sends all that goes to its server.
_SENDER = "_get_http_response_with_retries"
_lock = threading.Lock()

T = TypeVar("T")


class Answer:
    """What the server said last: nothing, before it has."""

    status: int | None = None
    retry_after: float | None = None

    def note(self, response: Any) -> None:
        """Keep what tells whether, and when, to ask again."""
        self.status = int(response.status_code)
        self.retry_after = seconds(response.headers.get("Retry-After"))


_answer: ContextVar[Answer | None] = ContextVar("lrtrack_mlflow_answer", default=None)


@contextmanager
def send_once() -> Iterator[Answer]:
    """Send each request of this thread to MLflow's server once, for as long as the block lasts.

    What the user's own code sends, before, after and on other threads, is left as it is.

    Yields:
        What came of the last request.
    """
    _listen()
    answer = Answer()
    token = _answer.set(answer)
    try:
        yield answer
    finally:
        _answer.reset(token)


@contextmanager
def translated(uri: str | None) -> Iterator[None]:
    """Send once, and turn MLflow's exceptions into lrtrack's two kinds: later, or never."""
    exceptions = load("mlflow.exceptions")
    where = f"MLflow at {redact(uri)}" if uri else "MLflow's default store"
    with send_once() as answer:
        try:
            yield
        except (exceptions.MlflowException, OSError) as error:  # artifacts: those of requests
            message = f"{where}: {redact(_reason(error, answer))}"
            if _final(error, answer):
                refused = answer.status in (401, 403) or _code(error) in _ACCESS
                refusal_kind = AccessRefused if refused else TrackerError
                raise refusal_kind(message, _fix(error, answer)) from error
            raise TrackerUnavailable(message, answer.retry_after) from error
        except ModuleNotFoundError as error:  # a database's or a cloud's own package
            raise TrackerError(f"{where} {_needs(error)}") from error
        except Exception as error:
            if not type(error).__module__.startswith("sqlalchemy"):
                raise
            later = type(error).__name__ in _DATABASE_LATER
            kind = TrackerUnavailable if later else TrackerError
            raise kind(f"{where}: {redact(_reason(error, answer))}") from error


def patiently(uri: str | None, ask: Callable[[], T]) -> T:
    """What `ask` returns; asked again a few times where the tracker may answer later.

    Only for what may be asked twice. A server that wants a pause gets it, unless that is longer
    than anybody would wait for.

    Raises:
        TrackerUnavailable: it did not answer; TrackerError: it refuses.
    """
    for pause in PAUSES:
        try:
            with translated(uri):
                return ask()
        except TrackerUnavailable as error:
            wanted = error.retry_after or 0.0
            if wanted > LONGEST:
                raise TrackerUnavailable(f"{error}; try again in {wanted:.0f} s", wanted) from error
            time.sleep(max(pause, wanted))
    with translated(uri):
        return ask()


def seconds(header: str | None) -> float | None:
    """How long a `Retry-After` says to wait: seconds or a date; None where it says nothing."""
    text = (header or "").strip()
    if re.fullmatch(r"\d+(\.\d*)?", text, re.ASCII):
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def _listen() -> None:
    """Be the one through whom MLflow sends; anybody but `send_once` notices nothing."""
    rest = load("mlflow.utils.rest_utils")
    with _lock:
        original = getattr(rest, _SENDER, None)
        if original is None or hasattr(original, "lrtrack"):
            return
        signature = inspect.signature(original)
        if not {"max_retries", "raise_on_status", "kwargs"} <= set(signature.parameters):
            return  # another MLflow: what `store` puts into the environment has to do

        @functools.wraps(original)
        def send(*args: Any, **kwargs: Any) -> Any:
            answer = _answer.get()
            if answer is None:
                return original(*args, **kwargs)
            bound = signature.bind(*args, **kwargs)
            # A status is an answer, and not worth an exception that does not tell its headers.
            bound.arguments.update(max_retries=0, raise_on_status=False)
            if TIMEOUT_VARIABLE not in os.environ:
                bound.arguments.setdefault("kwargs", {})["timeout"] = TIMEOUT
            answer.status = answer.retry_after = None
            response = original(*bound.args, **bound.kwargs)
            answer.note(response)
            return response

        vars(send)["lrtrack"] = True
        setattr(rest, _SENDER, send)


def _needs(error: ModuleNotFoundError) -> str:
    """What a missing driver of a database or an artifact store is called, and how to get it."""
    module = (error.name or "").partition(".")[0]
    advice = f". Fix: pip install {_PACKAGES.get(module, module)}" if module else ""
    return f"needs a package that is not installed here ({error}){advice}"


def _reason(error: BaseException, answer: Answer) -> str:
    """What went wrong, without the wrappings of three libraries around a refused connection."""
    text = str(error).strip()
    status = answer.status or 0
    foreign = _FOREIGN.search(text)
    if foreign is not None and status in set(HTTPStatus):
        said = foreign[1].rstrip("'").strip()
        shown = "" if said.startswith("<") or not said else f", {said.splitlines()[0][:200]!r}"
        text = f"answers {status} ({HTTPStatus(status).phrase}){shown}"
    advice = _ADVICE.get(status, "") if _code(error) != "RESOURCE_DOES_NOT_EXIST" else ""
    return _plain(text, error)[:500] + (f": {advice}" if advice else "")


def _fix(error: BaseException, answer: Answer) -> str:
    """What to do about credentials that were refused; empty where they were not."""
    asked = answer.status in (401, 403) and _code(error) != "RESOURCE_DOES_NOT_EXIST"
    return refusal(answer.status or 0) if asked else ""


def _plain(text: str, error: BaseException) -> str:
    system = re.search(r"\[Errno -?\d+\] ([^\"')]+)", text)
    if "failed with exception" in text and system is not None:
        return f"cannot be reached ({system[1].strip()})"
    driver = re.search(r"^\((?:\w+\.)+\w+\) (.+)$", text, re.MULTILINE)
    if "sqlalche.me" in text and driver is not None:
        return driver[1]
    return text.splitlines()[0] if text else repr(error)


def _code(error: Any) -> str:
    return str(getattr(error, "error_code", ""))


def _final(error: BaseException, answer: Answer) -> bool:
    """Whether the same request would be refused again."""
    text = str(error)
    if _LATER_TEXT.search(text):
        return False
    status = answer.status or 0
    if status >= 500 or status in _LATER_STATUS:
        return _code(error) == "INVALID_STATE"  # which MLflow sends as if it were its own trouble
    if _code(error) in _FINAL or 400 <= status < 500:  # other servers' answers have no code
        return True
    return any(f"error code {final}" in text or f"error {final}" in text
               for final in _FINAL_STATUS)  # fmt: skip
