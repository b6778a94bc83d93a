"""Blocks that share one MLflow run: under which names each writes, and how all are read back.

In a run that the user opened, all that lrtrack writes is named `lrtrack.…`: params of a block are
`lrtrack.optimizer`, `lrtrack.scheduler.T_max` and so on, and its config is the tag
`lrtrack.config` (JSON). A block with the prefix `D/` has its own tags and params under
`lrtrack.D.…`; see `scope_of` for other prefixes. The second phase of a scope has its params under
`lrtrack.phase2.…` (`lrtrack.D.phase2.…`), the schedule in the scope's tags is `first -> second`,
and the tag `lrtrack.phases` (`lrtrack.D.phases`) lists the phases.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lrtrack.fields import JSON, plain, text_of
from lrtrack.records import Run, Target
from lrtrack.schedules import Schedule
from lrtrack.trackers import shared_runs
from lrtrack.trackers.mlflow import metadata
from lrtrack.trackers.shared_runs import Phase

#: Tags that the config of a joined run may take, of `words.WHOLE` characters each.
_CONFIG_TAGS = 16


@dataclass(frozen=True)
class Block:
    """One block of lrtrack's in an MLflow run, and what is known of the others there.

    Attributes:
        run: the block.
        scope: its name below `lrtrack` in this run; empty for the plain names.
        phases: the phases of its scope, in order, this block among them.
        before: what stands before the names of its params; empty in a run of lrtrack's own.
    """

    run: Run
    scope: str
    phases: tuple[Phase, ...]
    before: str

    @property
    def first(self) -> int:
        """The run's step at which this block begins."""
        return int(next(each["first"] for each in self.phases if each["id"] == self.run.id))

    @property
    def course(self) -> Run:
        """The whole of the scope's phases."""
        return shared_runs.course(self.run, self.phases)

    def tags(self, there: Mapping[str, str], run: Run | None = None) -> dict[str, str]:
        """The tags that this block wants in the run.

        Args:
            there: those that the run has.
            run: what to say of the scope; None: `course`.
        """
        run = replace(run or self.course, id=self.phases[0]["id"])
        found = metadata.tags(run, self.scope)
        if len(self.phases) > 1:
            found[f"{metadata.names(self.scope)}phases"] = _phases_text(self.phases)
        if self.before:
            found |= _config_tags(self.before, self.run.config)
        if self.scope:
            found[metadata.SCHEDULE] = metadata.schedule_tag(schedule_of({**there, **found}))
        return {metadata.key(name): text for name, text in found.items()}

    def stale(self, there: Mapping[str, str]) -> list[str]:
        """Tags of an earlier phase's schedule, which say nothing true of the whole course."""
        own = f"{metadata.names(self.scope)}scheduler."
        wanted = self.tags(there)
        return [name for name in there if name.startswith(own) and name not in wanted]

    def params(self) -> dict[str, str]:
        """The params of this very block."""
        return metadata.params(self.run, self.before)


def block_of(run: Run, target: Target, tags: Mapping[str, str], last: Callable[[], int]) -> Block:
    """Find the place of `run` in an MLflow run.

    Args:
        run: the block.
        target: where it goes, as the training process decided.
        tags: of the MLflow run.
        last: asks MLflow for the last step that lrtrack has written with this block's prefix; -1
            where there is none.
    """
    shared = target.joined or target.parent is not None
    # Plain names in a run of lrtrack's own, unless a block with another prefix has them already.
    known = tags.get("lrtrack.prefix", "") if "lrtrack.scheduler.spec" in tags else None
    others = known not in (None, run.prefix) if target.continued else target.joined
    scope = shared_runs.scope_of(run.prefix) if others and known != run.prefix else ""
    phases = {each["id"]: each for each in _phases_there(tags, scope)} if shared else {}
    if run.id not in phases:
        strange = phases.keys() - {each["id"] for each in target.phases}
        first = max(target.first, last() + 1) if strange else target.first
    else:
        first = phases[run.id]["first"]
    own = shared_runs.phase_of(run, first)
    ordered = [*phases.values(), *target.phases, own]
    listed = shared_runs.listed(ordered)
    number = next(at for at, each in enumerate(listed, 1) if each["id"] == run.id)
    before = metadata.names(scope) if target.joined or scope else ""
    if number > 1:
        before = f"{metadata.names(scope)}phase{number}."
    return Block(run, scope, listed, before)


def _phases_there(tags: Mapping[str, str], scope: str) -> tuple[Phase, ...]:
    """The phases that the tags tell of; one, of a block that was alone so far."""
    own = metadata.names(scope)
    found = shared_runs.phases_from(_json(tags.get(f"{own}phases")))
    known = tags.get(f"{own}run_id")
    if found or known is None or f"{own}scheduler.spec" not in tags:
        return found
    schedule = metadata.schedule_from(_without(tags, scope))
    optimizer = {"name": tags.get(f"{own}optimizer.name", "")}
    return ({"id": known, "first": 0, "scheduler": schedule.to_dict(), "optimizer": optimizer},)


def _phases_text(phases: tuple[Phase, ...]) -> str:
    """Phases as a JSON list; where room is short, with less said of each."""
    for kept in (("id", "first", "scheduler", "optimizer"), ("id", "first", "scheduler")):
        text = text_of([{name: each.get(name) for name in kept} for each in phases])
        if len(text) <= metadata.WHOLE:
            return text
    return text_of([{name: each[name] for name in ("id", "first")} for each in phases])


def _config_tags(own: str, config: Mapping[str, JSON]) -> dict[str, str]:
    """The user's config as JSON: in one tag, or in several parts where it is long.

    Of one that is too long for all of them, the largest entries are left out.
    """
    if not config:
        return {}
    kept = {str(name): plain(value) for name, value in config.items()}
    text = text_of(kept)
    while len(text) > _CONFIG_TAGS * metadata.WHOLE:
        del kept[max(kept, key=lambda name: len(text_of(kept[name])))]
        text = text_of(kept)
    parts = [text[at : at + metadata.WHOLE] for at in range(0, len(text), metadata.WHOLE)]
    return {f"{own}config{f'.{at}' if at else ''}": part for at, part in enumerate(parts)}


@dataclass(frozen=True)
class Content:
    """What the tags and params of an MLflow run say of lrtrack's blocks in it, taken together."""

    schedule: Schedule
    optimizer: dict[str, JSON]
    seed: str | None
    config: dict[str, JSON]
    prefix: str
    id: str | None


def content_of(tags: Mapping[str, str], params: Mapping[str, str]) -> Content:
    """Read the tags and params of runs that lrtrack opened, and of those that it joined.

    Several blocks side by side have the seed, and for its metrics the prefix, of the first one in
    the order of their scopes.
    """
    scopes = _scopes(tags)
    blocks = {
        scope: (metadata.schedule_from(_without(tags, scope)), _optimizer(tags, params, scope))
        for scope in scopes
    }
    schedule, optimizer = shared_runs.together(blocks)
    own = metadata.names(scopes[0])
    seeds = [f"{metadata.names(scope)}seed" for scope in scopes]
    ours = any(_named(params, scope) for scope in scopes)
    taken = ("lrtrack", *(() if ours else ("scheduler", "optimizer", "seed")))
    config = {k: value_of(v) for k, v in params.items() if k.partition(".")[0] not in taken}
    for scope in scopes:
        for phase in ("", *(f"phase{number}." for number in range(2, shared_runs.MOST + 1))):
            config |= _config(tags, metadata.names(scope) + phase)
    return Content(
        schedule,
        optimizer,
        next((params[name] for name in (*seeds, "seed") if name in params), None),
        config,
        tags.get(f"{own}prefix", ""),
        tags.get(f"{own}run_id"),
    )


def schedule_of(tags: Mapping[str, str]) -> Schedule:
    """The schedule that the tags of a run describe, of all blocks in it."""
    return content_of(tags, {}).schedule


def value_of(text: str) -> JSON:
    """A param as it was before it became text, as far as that can be told."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # no JSON, or nested too deeply
        return text


def _scopes(tags: Mapping[str, str]) -> list[str]:
    """Scopes in order; the plain one is first where it is there, or where there is no other."""
    found = sorted(
        name[len("lrtrack.") : -len(".prefix")]
        for name, prefix in tags.items()
        if name.startswith("lrtrack.")
        and name.endswith(".prefix")
        and name == metadata.key(f"lrtrack.{shared_runs.scope_of(prefix)}.prefix")
    )
    alone = not found or "lrtrack.scheduler.spec" in tags
    return ["", *found] if alone else found


def _without(tags: Mapping[str, str], scope: str) -> Mapping[str, str]:
    """A scope's own tags under the plain names."""
    own = metadata.names(scope)
    if not scope:
        return tags
    return {f"lrtrack.{k.removeprefix(own)}": v for k, v in tags.items() if k.startswith(own)}


def _named(params: Mapping[str, str], scope: str) -> bool:
    """Whether a scope's params have lrtrack's name before theirs, as in a run that was joined."""
    return f"{metadata.names(scope)}scheduler" in params


def _optimizer(tags: Mapping[str, str], params: Mapping[str, str], scope: str) -> dict[str, JSON]:
    before = f"{metadata.names(scope) if _named(params, scope) else ''}optimizer."
    found = {k[len(before) :]: value_of(v) for k, v in params.items() if k.startswith(before)}
    return {"name": tags.get(f"{metadata.names(scope)}optimizer.name", ""), **found}


def _config(tags: Mapping[str, str], own: str) -> dict[str, JSON]:
    parts: list[str] = []
    while (name := f"{own}config{f'.{len(parts)}' if parts else ''}") in tags:
        parts.append(tags[name])
    found = _json("".join(parts))
    return found if isinstance(found, dict) else {}


def _json(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None
