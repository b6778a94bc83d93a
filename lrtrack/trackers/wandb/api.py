"""Requests to W&B's API: connection, filters, retries and errors."""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar, cast

from lrtrack._optional import load
from lrtrack.errors import AccessRefused, TrackerUnavailable, UsageError
from lrtrack.filters import Filter
from lrtrack.records import State
from lrtrack.redaction import redact
from lrtrack.trackers.causes import connection_trouble, shortened
from lrtrack.trackers.per_run import LeftOut
from lrtrack.trackers.wandb import account, destination, login, shutdown
from lrtrack.trackers.wandb.client_settings import api_key_fix

#: Attempts at a request that gets status 429, and the first pause in seconds.
ATTEMPTS, PAUSE = 5, 1.0
_jitter = random.Random()  # noqa: S311 (separate: the training's random state must not change)
_COMPARE = re.compile(r"\s*([\w./-]+)\s*(!=|<=|>=|==?|<|>)\s*(.+?)\s*")
_SIGNS = {"!=": "$ne", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte", "=": "$eq", "==": "$eq"}

T = TypeVar("T")


def status() -> str:
    """Describe the server and the account there.

    Raises:
        TrackerError: the server does not answer, or refuses the key.
        UsageError: there is no API key.
    """
    uri = _server(None)
    name = account.name_at(uri)
    if name is None:
        api, uri = connect(None)
        with translate_errors(uri):
            name = api.viewer.username or api.viewer.entity
    return f"{redact(uri or destination.DEFAULT_URL)} answers, as {name}"


def connect(uri: str | None) -> tuple[Any, str | None]:
    """Return W&B's API and the server's address, which is None for W&B's own server.

    Raises:
        UsageError: there is no API key.
        TrackerUnavailable: the server does not answer.
    """
    uri = _server(uri)
    wandb = load("wandb")
    shutdown.limit_wait()
    with translate_errors(uri):
        return wandb.Api(overrides={"base_url": uri} if uri else None, timeout=30), uri


def _server(uri: str | None) -> str | None:
    """The server's address, `uri` by default that of the settings; None: W&B's own server.

    Raises:
        UsageError: there is no API key for it.
    """
    uri = uri or os.environ.get("WANDB_BASE_URL") or destination.settings_value("base_url")
    login.check_key(redact(uri) if uri else None)
    return uri


def project_of(experiment: str | None, api: Any) -> tuple[str, str]:
    """Entity and project that `experiment` names, else those of W&B's settings."""
    environment = destination.environment()
    entity, _, project = (experiment or "").rpartition("/")
    entity = entity or environment.get("WANDB_ENTITY") or api.default_entity or ""
    project = (
        project
        or environment.get("WANDB_PROJECT")
        or destination.settings_value("project")
        or "lrtrack"
    )
    return entity, project


def server_filter(text: str) -> dict[str, Any]:
    """Convert `FIELD OP VALUE`, or JSON in W&B's filter language, to a filter of W&B's server."""
    if text.lstrip().startswith("{"):
        try:
            return dict(json.loads(text))
        except ValueError as error:
            raise UsageError(
                f"Cannot read the --filter-raw {text!r} as JSON: {error}. Fix: write valid JSON."
            ) from error
    match = _COMPARE.fullmatch(text)
    if match is None:
        raise UsageError(
            f"Cannot read the --filter-raw {text!r}. Fix: write FIELD OP VALUE, where OP is one of "
            f"{' '.join(_SIGNS)}, for example state=finished or config.lr<0.1, or W&B's JSON."
        )
    field, sign, value = match.groups()
    try:
        operand = json.loads(value)
    except ValueError:
        operand = value.strip("'\"")
    return {field: operand if sign in ("=", "==") else {_SIGNS[sign]: operand}}


def narrowing_filters(filters: Iterable[Filter]) -> list[dict[str, Any]]:
    """The conditions that W&B's server can narrow a search by; it finds at least what they select.

    All others are left to `lrtrack.filters.select`: where a run's config stands depends on who
    opened the run, and on how many blocks share it.
    """
    narrowing: list[dict[str, Any]] = []
    for condition in filters:
        value = condition.value
        if not isinstance(value, str):
            continue
        if condition.field == "state" and condition.op in ("=", "!="):
            # A block may have ended in a run that the user goes on with, but not the other way
            # round.
            finished = value.upper() == State.FINISHED
            if condition.op == "=" and finished:
                narrowing.append({"state": {"$nin": ["failed", "crashed", "killed"]}})
            elif finished or condition.op == "=":
                narrowing.append({"state": {"$ne": "finished"}})
        elif condition.field == "name" and condition.op == "=":
            narrowing.append({"display_name": value})
    return narrowing


def list_runs(runs: Any, left_out: LeftOut) -> list[Any]:
    """Fetch all runs of W&B's pages.

    W&B's client fails on a whole page if it cannot read one of its runs, so runs are converted one
    by one here.

    Args:
        runs: the result of `wandb.Api().runs()`.
        left_out: collects the runs that cannot be read.
    """
    convert_page = runs.convert_objects

    def one_by_one() -> list[Any]:
        page = runs.last_response["project"]["runs"]
        edges = page["edges"]
        converted: list[Any] = []
        try:
            for edge in edges:
                page["edges"] = [edge]
                node = edge["node"]
                name = partial("{displayName!r} ({name})".format_map, node)
                converted += left_out.attempt(name, convert_page, counted=False) or []
        finally:
            page["edges"] = edges
        return converted

    def convert() -> list[Any]:
        try:
            has_edges = bool(runs.last_response["project"]["runs"]["edges"])
        except (AttributeError, KeyError, TypeError):  # no such project, or another version
            has_edges = False
        return one_by_one() if has_edges else list(convert_page())

    runs.convert_objects = convert
    return list(runs)


def exists(api: Any, path: str, run_id: str) -> bool:
    """Ask the server whether it has the run, bypassing the client's cache."""
    return bool(list(api.runs(path, filters={"name": run_id}, per_page=1, lazy=False)))


def with_retries(request: Callable[[], T]) -> T:
    """Return the result of `request`, retried after growing pauses on status 429."""
    for attempt in range(ATTEMPTS):
        try:
            return request()
        except Exception as error:
            if "429" not in str(error) or attempt == ATTEMPTS - 1:
                raise
            time.sleep(PAUSE * 2**attempt * _jitter.uniform(0.8, 1.2))
    raise AssertionError("not reached")


@contextmanager
def translate_errors(uri: str | None) -> Iterator[None]:
    """Raise W&B's exceptions as lrtrack's.

    Raises:
        AccessRefused: the server refuses the API key.
        TrackerUnavailable: any other failure.
    """
    errors = load("wandb.errors")
    where = f"W&B at {redact(uri or destination.DEFAULT_URL)}"
    try:
        yield
    except (errors.Error, OSError, ValueError, service_errors()) as error:
        text = first_line(error)
        if login.is_refusal(text):
            raise AccessRefused(f"{where} refused the API key", api_key_fix()) from error
        raise TrackerUnavailable(f"{where}: {connection_trouble(text) or text}") from error


def service_errors() -> type[Exception]:
    """The exception that W&B's service raises, which depends on the version of wandb."""
    with suppress(Exception):
        module = load("wandb.sdk.lib.service.service_connection")
        return cast("type[Exception]", module.WandbApiFailedError)
    return TrackerUnavailable


def first_line(error: Exception) -> str:
    """The first line of an error's message, without credentials."""
    text = str(error).strip()
    return shortened(redact(text.splitlines()[0] if text else repr(error)), 500)
