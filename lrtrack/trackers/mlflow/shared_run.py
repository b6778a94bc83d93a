"""Several blocks in one MLflow run: the names that each writes, and how they are read back.

In a run that the user opened, every name that lrtrack writes begins with `lrtrack.`: the params of
a block are `lrtrack.optimizer`, `lrtrack.scheduler.T_max` and so on, and its config is the tag
`lrtrack.config` (JSON). A block with the prefix `D/` has its tags and params under `lrtrack.D.…`;
see `scope_of` for other prefixes. The second phase of a scope has its params under
`lrtrack.phase2.…` (`lrtrack.D.phase2.…`), the schedule in the scope's tags is `first -> second`,
and the tag `lrtrack.phases` (`lrtrack.D.phases`) lists the phases.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lrtrack.fields import JSON, plain, text_of
from lrtrack.records import Rewind, Run, Target, rewinds_from
from lrtrack.schedules import Schedule
from lrtrack.trackers import shared_runs
from lrtrack.trackers.mlflow import metadata
from lrtrack.trackers.shared_runs import Phase

#: The most tags for the config of a joined run, of `metadata.MAX_TEXT` characters each.
_CONFIG_TAGS = 16


@dataclass(frozen=True)
class Block:
    """A block in an MLflow run, together with the phases of its scope.

    Attributes:
        run: the block.
        scope: its name below `lrtrack` in this run; empty for plain names.
        phases: the phases of its scope in order, including this block.
        param_prefix: the prefix of its params' names; empty in a run that lrtrack opened.
    """

    run: Run
    scope: str
    phases: tuple[Phase, ...]
    param_prefix: str

    @property
    def first(self) -> int:
        """The run's step at which this block begins."""
        return int(next(phase["first"] for phase in self.phases if phase["id"] == self.run.id))

    @property
    def course(self) -> Run:
        """All phases of the scope as one run."""
        return shared_runs.course(self.run, self.phases)

    def tags(self, existing: Mapping[str, str], run: Run | None = None) -> dict[str, str]:
        """The tags that the MLflow run needs for this block.

        Args:
            existing: the tags that the MLflow run has.
            run: describes the scope; None: `course`.
        """
        run = replace(run or self.course, id=self.phases[0]["id"])
        tags = metadata.tags(run, self.scope)
        if len(self.phases) > 1:
            tags[f"{metadata.name_prefix(self.scope)}phases"] = _phases_text(self.phases)
        if self.param_prefix:
            tags |= _config_tags(self.param_prefix, self.run.config)
            if run.outcome is not None:  # the status is that of the user's run
                tags[f"{metadata.name_prefix(self.scope)}state"] = run.outcome
        if self.scope:
            tags[metadata.SCHEDULE] = metadata.schedule_tag(schedule_of({**existing, **tags}))
        return metadata.keyed(tags)

    def stale(self, existing: Mapping[str, str]) -> list[str]:
        """Names of tags of an earlier phase that are wrong for all phases together."""
        own = metadata.name_prefix(self.scope)
        of_phases = (f"{own}scheduler.", f"{own}state", f"{own}total_steps")
        current = self.tags(existing)
        return [name for name in existing if name.startswith(of_phases) and name not in current]

    def params(self) -> dict[str, str]:
        """The params of this block alone."""
        return metadata.params(self.run, self.param_prefix)


def block_of(run: Run, target: Target, tags: Mapping[str, str], last: Callable[[], int]) -> Block:
    """Decide scope, phases and first step of the block `run` in an MLflow run.

    Args:
        run: the block.
        target: its destination, as the training process decided.
        tags: of the MLflow run.
        last: asks MLflow for the last step that lrtrack wrote with this block's prefix; -1 if there
            is none.
    """
    shared = target.joined or target.parent is not None
    # A run that lrtrack opened has plain names, unless a block with another prefix has taken them.
    plain_prefix = tags.get("lrtrack.prefix", "") if "lrtrack.scheduler.spec" in tags else None
    scoped = plain_prefix not in (None, run.prefix) if target.continued else target.joined
    scope = shared_runs.scope_of(run.prefix) if scoped and plain_prefix != run.prefix else ""
    phases = {phase["id"]: phase for phase in _phases_in(tags, scope)} if shared else {}
    if run.id not in phases:
        unexpected = phases.keys() - {phase["id"] for phase in target.phases}
        first = max(target.first, last() + 1) if unexpected else target.first
    else:
        first = phases[run.id]["first"]
    own = shared_runs.phase_of(run, first)
    listed = shared_runs.listed([*phases.values(), *target.phases, own])
    number = next(n for n, phase in enumerate(listed, 1) if phase["id"] == run.id)
    param_prefix = metadata.name_prefix(scope) if target.joined or scope else ""
    if number > 1:
        param_prefix = f"{metadata.name_prefix(scope)}phase{number}."
    return Block(run, scope, listed, param_prefix)


def _phases_in(tags: Mapping[str, str], scope: str) -> tuple[Phase, ...]:
    """The phases that the tags list, or one phase for a single block, whose tags list none."""
    own = metadata.name_prefix(scope)
    phases = shared_runs.phases_from(_json(tags.get(f"{own}phases")))
    run_id = tags.get(f"{own}run_id")
    if phases or run_id is None or f"{own}scheduler.spec" not in tags:
        return phases
    schedule = metadata.schedule_from(_without(tags, scope))
    optimizer = {"name": tags.get(f"{own}optimizer.name", "")}
    return ({"id": run_id, "first": 0, "scheduler": schedule.to_dict(), "optimizer": optimizer},)


def _phases_text(phases: tuple[Phase, ...]) -> str:
    """Phases as a JSON list, with fewer fields each if the text is too long."""
    for fields in (("id", "first", "scheduler", "optimizer"), ("id", "first", "scheduler")):
        text = text_of([{name: phase.get(name) for name in fields} for phase in phases])
        if len(text) <= metadata.MAX_TEXT:
            return text
    return text_of([{name: phase[name] for name in ("id", "first")} for phase in phases])


def _config_tags(own: str, config: Mapping[str, JSON]) -> dict[str, str]:
    """The user's config as JSON, in one tag or, if it is long, in several.

    The largest entries of a config that is too long for `_CONFIG_TAGS` tags are left out.
    """
    if not config:
        return {}
    entries = {str(name): plain(value) for name, value in config.items()}
    text = text_of(entries)
    while len(text) > _CONFIG_TAGS * metadata.MAX_TEXT:
        del entries[max(entries, key=lambda name: len(text_of(entries[name])))]
        text = text_of(entries)
    parts = [
        text[start : start + metadata.MAX_TEXT] for start in range(0, len(text), metadata.MAX_TEXT)
    ]
    return {f"{own}config{f'.{n}' if n else ''}": part for n, part in enumerate(parts)}


@dataclass(frozen=True)
class Content:
    """One block of an MLflow run, as its tags and params describe it."""

    schedule: Schedule
    optimizer: dict[str, JSON]
    seed: str | None
    config: dict[str, JSON]
    prefix: str
    id: str | None
    rewinds: tuple[Rewind, ...] = ()
    parent: str | None = None
    branched_at: str | None = None
    outcome: str | None = None
    total_steps: str | None = None


def contents_of(tags: Mapping[str, str], params: Mapping[str, str]) -> list[Content]:
    """Read the blocks of a run that lrtrack opened or joined, in the order of their scopes."""
    return [_content(tags, params, scope) for scope in _scopes(tags)]


def _content(tags: Mapping[str, str], params: Mapping[str, str], scope: str) -> Content:
    own = metadata.name_prefix(scope)
    prefixed = any(_is_prefixed(params, each) for each in _scopes(tags))
    reserved = ("lrtrack", *(() if prefixed else ("scheduler", "optimizer", "seed")))
    config = {k: value_of(v) for k, v in params.items() if k.partition(".")[0] not in reserved}
    for phase in ("", *(f"phase{number}." for number in range(2, shared_runs.MOST + 1))):
        config |= _config(tags, own + phase)
    return Content(
        metadata.schedule_from(_without(tags, scope)),
        _optimizer(tags, params, scope),
        next((params[name] for name in (f"{own}seed", "seed") if name in params), None),
        config,
        tags.get(f"{own}prefix", ""),
        tags.get(f"{own}run_id"),
        rewinds_of(tags, scope),
        tags.get(f"{own}parent"),
        tags.get(f"{own}branched_at"),
        tags.get(f"{own}state"),
        tags.get(f"{own}total_steps"),
    )


def rewinds_of(tags: Mapping[str, str], scope: str) -> tuple[Rewind, ...]:
    """The rewinds of a block, as a run's tags list them."""
    return rewinds_from(_json(tags.get(f"{metadata.name_prefix(scope)}rewinds")))


def rewinds_by_prefix(tags: Mapping[str, str]) -> dict[str, tuple[Rewind, ...]]:
    """The rewinds of each block in a run, by the prefix of its metrics."""
    return {
        tags.get(f"{metadata.name_prefix(scope)}prefix", ""): rewinds_of(tags, scope)
        for scope in _scopes(tags)
    }


def schedule_of(tags: Mapping[str, str]) -> Schedule:
    """The schedule of all blocks in a run, as its tags describe it."""
    blocks: dict[str, tuple[Schedule, Mapping[str, Any]]] = {
        scope: (metadata.schedule_from(_without(tags, scope)), {}) for scope in _scopes(tags)
    }
    return shared_runs.together(blocks)[0]


def value_of(text: str) -> JSON:
    """The value that a param's text stands for; the text itself if it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # not JSON, or nested too deeply
        return text


def _scopes(tags: Mapping[str, str]) -> list[str]:
    """The scopes in order, the plain one first if it exists or no other does."""
    scopes = sorted(
        name[len("lrtrack.") : -len(".prefix")]
        for name, prefix in tags.items()
        if name.startswith("lrtrack.")
        and name.endswith(".prefix")
        and name == metadata.key(f"lrtrack.{shared_runs.scope_of(prefix)}.prefix")
    )
    has_plain = not scopes or "lrtrack.scheduler.spec" in tags
    return ["", *scopes] if has_plain else scopes


def _without(tags: Mapping[str, str], scope: str) -> Mapping[str, str]:
    """The tags of one scope, renamed to plain names."""
    own = metadata.name_prefix(scope)
    if not scope:
        return tags
    return {f"lrtrack.{k.removeprefix(own)}": v for k, v in tags.items() if k.startswith(own)}


def _is_prefixed(params: Mapping[str, str], scope: str) -> bool:
    """Whether a scope's params begin with `lrtrack.`, as in a run that the user opened."""
    return f"{metadata.name_prefix(scope)}scheduler" in params


def _optimizer(tags: Mapping[str, str], params: Mapping[str, str], scope: str) -> dict[str, JSON]:
    prefix = f"{metadata.name_prefix(scope) if _is_prefixed(params, scope) else ''}optimizer."
    parameters = {k[len(prefix) :]: value_of(v) for k, v in params.items() if k.startswith(prefix)}
    return {"name": tags.get(f"{metadata.name_prefix(scope)}optimizer.name", ""), **parameters}


def _config(tags: Mapping[str, str], own: str) -> dict[str, JSON]:
    parts: list[str] = []
    while (name := f"{own}config{f'.{len(parts)}' if parts else ''}") in tags:
        parts.append(tags[name])
    config = _json("".join(parts))
    return config if isinstance(config, dict) else {}


def _json(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None
