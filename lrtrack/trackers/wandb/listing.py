"""The runs of a W&B project that a query selects."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from lrtrack.errors import NothingFound, unknown
from lrtrack.fields import JSON
from lrtrack.filters import is_late, select
from lrtrack.records import Run
from lrtrack.records.roles import Roles
from lrtrack.trackers import per_run, shared_runs
from lrtrack.trackers.base import ALL, Query
from lrtrack.trackers.wandb import destination, logged_runs
from lrtrack.trackers.wandb.api import (
    list_runs,
    narrowing_filters,
    server_filter,
    translate_errors,
    with_retries,
)
from lrtrack.trackers.wandb.description import is_tracked, runs_from, started_at, state_of

_PAGE = 200


def selected_runs(
    api: Any, uri: str | None, where: tuple[str, str], query: Query, left_out: per_run.LeftOut
) -> list[Any]:
    """The runs of a project that the query's filters select, newest first.

    Args:
        api: W&B's API.
        uri: the server's address; None for W&B's own server.
        where: entity and project.
        query: which runs.
        left_out: collects the runs that cannot be read.

    Raises:
        NothingFound: there is no such project.
        TrackerUnavailable, AccessRefused: the server cannot be asked.
    """

    def search(conditions: Mapping[str, Any]) -> list[Any]:
        with translate_errors(uri):
            return _runs(api, where, conditions, left_out, query)

    path = "/".join(where)
    raw = [server_filter(text) for text in query.raw_filters]
    filters = [f for f in query.filters if not (query.runs == ALL and is_late(f))]
    narrowing = narrowing_filters(filters)
    runs = search({"$and": [*raw, *narrowing]} if raw or narrowing else {})
    # An empty result does not show whether no run has the field or no run has the value. `select`
    # finds out, if it sees all runs.
    if narrowing and not runs:
        runs = search({"$and": raw} if raw else {})
    blocks = [
        (wandb_run, block) for wandb_run in runs for block in _blocks(path, wandb_run, query.roles)
    ]
    selected = select(blocks, filters, _fields)
    return list({str(wandb_run.id): wandb_run for wandb_run, _ in selected}.values())


def _blocks(path: str, wandb_run: Any, roles: Roles) -> list[Run | None]:
    try:
        if not is_tracked(wandb_run):
            return [logged_runs.run_from(wandb_run, path, roles)]
        return [*runs_from(wandb_run, path)]
    except Exception:  # a run that cannot be read is reported when it is read
        return [None]


def _fields(block: tuple[Any, Run | None]) -> dict[str, JSON]:
    wandb_run, run = block
    try:
        state = state_of(wandb_run)
    except Exception:
        return {}
    if run is None:
        return {}
    url = str(wandb_run.url) if wandb_run.url else None
    state = shared_runs.state_of(run, state)
    return run.fields(run_id=str(wandb_run.id), state=str(state), tracker=destination.NAME, url=url)


def _runs(
    api: Any,
    where: tuple[str, str],
    filters: Mapping[str, Any],
    left_out: per_run.LeftOut,
    query: Query,
) -> list[Any]:
    entity, project = where
    try:
        runs = with_retries(
            lambda: list_runs(
                api.runs(
                    f"{entity}/{project}",
                    filters=dict(filters),
                    order="-created_at",
                    per_page=_PAGE,
                    lazy=False,
                ),
                left_out,
            )
        )
    except ValueError as error:
        if "Could not find project" not in str(error):
            raise
        names: list[str] = []
        with suppress(Exception):  # an unknown entity has no list of projects
            names = [existing.name for existing in api.projects(entity)]
        own = f"entity {entity!r}; your own is {api.default_entity!r}"
        raise NothingFound(f"{unknown('project', project, names)} (W&B: {own})") from error
    chosen = [
        run
        for run in runs
        if is_tracked(run) or (query.runs == ALL and not logged_runs.is_report(run))
    ]
    return sorted(chosen, key=_began, reverse=True)


def _began(wandb_run: Any) -> float:
    # W&B's own time is that of the upload, which may be days after a run of lrtrack began.
    tracked = is_tracked(wandb_run)
    return started_at(wandb_run) if tracked else logged_runs.created_at(wandb_run)
