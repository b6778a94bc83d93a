"""Filters translated into MLflow's search language, so that fewer runs are fetched."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lrtrack.filters import Filter
from lrtrack.records import State
from lrtrack.trackers.mlflow import metadata

#: Values that are written the same way inside MLflow's quotes, and that no store cuts.
_LITERAL = re.compile(r"[\w .:/@+,()\[\]-]{1,250}", re.ASCII)
#: The condition that lrtrack recorded a run.
TRACKED = "tags.`lrtrack.version` != ''"
_TAGS = {"device.type": "lrtrack.device.type", "device.name": "lrtrack.device.name"}


def expressions(filters: Iterable[Filter], *, everything: bool = False) -> list[str]:
    """The conditions that MLflow can narrow a search by; it finds at least what they select.

    Seeds, config, schedules and optimizers are left to `lrtrack.filters.select`: their names depend
    on who opened the run and on how many blocks share it, and MLflow compares them as text.

    Args:
        filters: conditions that must all hold.
        everything: whether runs count that lrtrack did not record, which lack its tags.
    """
    narrowing = [
        text
        for condition in filters
        if not (everything and condition.field in _TAGS)
        if (text := _expression(condition)) is not None
    ]
    return narrowing if everything else [TRACKED, *narrowing]


def _expression(condition: Filter) -> str | None:
    field, value = condition.field, condition.value
    if field == "state" and condition.op in ("=", "!=") and isinstance(value, str):
        # A block may have ended in a run that the user goes on with, but not the other way round.
        finished = value.upper() == State.FINISHED
        if condition.op == "!=":
            return "attributes.status != 'FINISHED'" if finished else None
        return f"attributes.status != '{State.FAILED if finished else State.FINISHED}'"
    if condition.op != "=" or not isinstance(value, str) or not _LITERAL.fullmatch(value):
        return None
    if field == "name":
        return f"attributes.run_name = '{value}'"
    tag = _TAGS.get(field) or (field.removeprefix("tags.") if field.startswith("tags.") else None)
    if not tag or not _LITERAL.fullmatch(tag) or metadata.key(tag) != tag:
        return None
    return f"tags.`{tag}` = '{value}'"
