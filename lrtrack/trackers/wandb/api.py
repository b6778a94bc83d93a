"""Asking W&B's API: finding it, its filters, its patience, and what its errors mean."""

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
from lrtrack.settings import redact
from lrtrack.trackers.per_run import LeftOut
from lrtrack.trackers.wandb import destination, login, shutdown
from lrtrack.trackers.wandb.client_settings import refusal

#: Attempts at a request that was answered with 429, and the first pause in seconds.
ATTEMPTS, PAUSE = 5, 1.0
_jitter = random.Random()  # noqa: S311 (a reader may sit in a notebook that trains)
_COMPARE = re.compile(r"\s*([\w./-]+)\s*(!=|<=|>=|==?|<|>)\s*(.+?)\s*")
_SIGNS = {"!=": "$ne", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte", "=": "$eq", "==": "$eq"}

T = TypeVar("T")


def status() -> str:
    """The server, and whose account is used there.

    Raises:
        TrackerError: it does not answer, or refuses.
        UsageError: there is no API key.
    """
    api, uri = connect(None)
    with translated(uri):
        viewer = api.viewer
    return (
        f"{redact(uri or destination.DEFAULT_URL)} answers, as {viewer.username or viewer.entity}"
    )


def connect(uri: str | None) -> tuple[Any, str | None]:
    """W&B's API, and the server's address; None for W&B's own.

    Raises:
        UsageError: there is no API key.
        TrackerUnavailable: the server does not answer.
    """
    uri = uri or os.environ.get("WANDB_BASE_URL") or destination.from_file("base_url")
    login.check_key(redact(uri) if uri else None)
    wandb = load("wandb")
    shutdown.bound()
    with translated(uri):
        return wandb.Api(overrides={"base_url": uri} if uri else None, timeout=30), uri


def project_of(experiment: str | None, api: Any) -> tuple[str, str]:
    """Entity and project: those that `experiment` names, else those of W&B's own settings."""
    known = destination.environment()
    named, _, project = (experiment or "").rpartition("/")
    entity = named or known.get("WANDB_ENTITY") or api.default_entity or ""
    project = project or known.get("WANDB_PROJECT") or destination.from_file("project") or "lrtrack"
    return entity, project


def server_filter(text: str) -> dict[str, Any]:
    """A filter as W&B's server takes it: its own JSON, or `FIELD OP VALUE`."""
    if text.lstrip().startswith("{"):
        try:
            return dict(json.loads(text))
        except ValueError as error:
            raise UsageError(f"Cannot read the --filter-raw {text!r} as JSON: {error}") from error
    match = _COMPARE.fullmatch(text)
    if match is None:
        raise UsageError(
            f"Cannot read the --filter-raw {text!r}: write FIELD OP VALUE with one of "
            f"{' '.join(_SIGNS)}, for instance state=finished or config.lr<0.1, or W&B's JSON"
        )
    field, sign, value = match.groups()
    try:
        wanted = json.loads(value)
    except ValueError:
        wanted = value.strip("'\"")
    return {field: wanted if sign in ("=", "==") else {_SIGNS[sign]: wanted}}


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
            finished = value.upper() == State.FINISHED
            if condition.op == "=" and finished:
                narrowing.append({"state": "finished"})
            elif finished or condition.op == "=":
                narrowing.append({"state": {"$ne": "finished"}})
        elif condition.field == "name" and condition.op == "=":
            narrowing.append({"display_name": value})
    return narrowing


def listed(runs: Any, left_out: LeftOut) -> list[Any]:
    """All runs of W&B's pages; its client makes objects of a whole page, or of none of its runs.

    Args:
        runs: what `wandb.Api().runs()` returned.
        left_out: takes the runs of which no object can be made.
    """
    whole = runs.convert_objects

    def one_by_one() -> list[Any]:
        page = runs.last_response["project"]["runs"]
        edges = page["edges"]
        found: list[Any] = []
        try:
            for edge in edges:
                page["edges"] = [edge]
                node = edge["node"]
                name = partial("{displayName!r} ({name})".format_map, node)
                found += left_out.attempt(name, whole, counted=False) or []
        finally:
            page["edges"] = edges
        return found

    def convert() -> list[Any]:
        try:
            known = bool(runs.last_response["project"]["runs"]["edges"])
        except (AttributeError, KeyError, TypeError):  # no such project, or another wandb
            known = False
        return one_by_one() if known else list(whole())

    runs.convert_objects = convert
    return list(runs)


def exists(api: Any, path: str, run_id: str) -> bool:
    """Whether W&B has the run, asked anew."""
    return bool(list(api.runs(path, filters={"name": run_id}, per_page=1, lazy=False)))


def patiently(ask: Callable[[], T]) -> T:
    """Ask again, after growing pauses, where the server asks for patience."""
    for attempt in range(ATTEMPTS):
        try:
            return ask()
        except Exception as error:
            if "429" not in str(error) or attempt == ATTEMPTS - 1:
                raise
            time.sleep(PAUSE * 2**attempt * _jitter.uniform(0.8, 1.2))
    raise AssertionError("not reached")


@contextmanager
def translated(uri: str | None) -> Iterator[None]:
    """Turn W&B's exceptions into lrtrack's."""
    errors = load("wandb.errors")
    where = f"W&B at {redact(uri or destination.DEFAULT_URL)}"
    try:
        yield
    except (errors.Error, OSError, ValueError, service_errors()) as error:
        text = first_line(error)
        if login.refused(text):
            raise AccessRefused(f"{where} refused the API key", refusal()) from error
        raise TrackerUnavailable(f"{where}: {text}") from error


def service_errors() -> type[Exception]:
    """What W&B's service raises for its own troubles, by the version of wandb."""
    with suppress(Exception):
        module = load("wandb.sdk.lib.service.service_connection")
        return cast("type[Exception]", module.WandbApiFailedError)
    return TrackerUnavailable


def first_line(error: Exception) -> str:
    """What an error says, in one line without credentials."""
    text = str(error).strip()
    return redact(text.splitlines()[0] if text else repr(error))[:500]
