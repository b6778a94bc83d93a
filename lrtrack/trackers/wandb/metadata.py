"""What people see of a run in W&B: config, tags, notes, metric definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lrtrack.fields import plain, text_of
from lrtrack.records import FIND, TRAIN, Run, Target
from lrtrack.schedules import CONSTANT, Schedule
from lrtrack.trackers import shared_runs
from lrtrack.trackers.shared_runs import Phase

#: The one config key under which everything of lrtrack's stands.
CONFIG = "lrtrack"
#: The metric against which W&B draws all others of lrtrack's.
STEP = "lrtrack/step"
#: The summary key of the diagnoses' codes: what people filter by.
DIAGNOSES = "lrtrack/diagnoses"
_TAG_LENGTH = 64  # W&B refuses longer ones


def config(run: Run, target: Target | None = None) -> dict[str, Any]:
    """What stands under the config key `lrtrack`: CONTRACT §3's, and what reading needs.

    In a run that the user opened, a block with the prefix `D/` has its own under `lrtrack.D`; see
    `scope_of` for other prefixes.

    Args:
        run: the block.
        target: where it goes, and which phases are before it; None: a run of its own.
    """
    phases = () if target is None else phases_of(run, target)
    found = _block(shared_runs.course(run, phases), phases)
    if target is not None and target.parent is not None:
        found["parent"] = target.parent
    scope = shared_runs.scope_of(run.prefix) if target is not None and target.joined else ""
    if scope:
        common = ("version", "device", "world_size", "started")
        found = {**{name: found[name] for name in common}, scope: found}
    return dict(plain(found))


def phases_of(run: Run, target: Target) -> tuple[Phase, ...]:
    """The phases of the run's course, this block the last; none where it is alone."""
    if not target.phases:
        return ()
    return shared_runs.listed((*target.phases, shared_runs.phase_of(run, target.first)))


def _block(run: Run, phases: Sequence[Phase]) -> dict[str, Any]:
    schedule = run.schedule
    scheduler = {**schedule.to_dict(), "id": schedule.id, "spec": schedule.spec}
    # W&B adds new keys to those that an earlier phase has written, and removes none.
    gone = set(phases[0].get("scheduler") or ()) if len(phases) > 1 else set()
    found = {
        "version": run.version,
        "run_id": phases[0]["id"] if phases else run.id,
        "device": {"type": run.device_type, "name": run.device_name},
        "world_size": run.world_size,
        "optimizer": dict(run.optimizer),
        "scheduler": {**dict.fromkeys(gone - scheduler.keys()), **scheduler},
        "seed": run.seed,
        "group": run.group,
        "prefix": run.prefix,
        "tags": dict(run.tags),
        "config": dict(run.config),
        "started": run.started,
    }
    if phases:
        said = ("id", "first", "scheduler", "optimizer")
        found["phases"] = [{name: each.get(name) for name in said} for each in phases]
    if run.kind != TRAIN:
        found |= {"kind": run.kind, "suggestion": dict(run.suggestions)}
    if run.diagnoses is not None:
        found["diagnoses"] = [dict(each) for each in run.diagnoses]
    return found


def blocks(found: Any) -> dict[str, Mapping[str, Any]]:
    """The blocks that a config describes under `lrtrack`, by their prefixes.

    That without a scope is first where it is there; it is the only one of a run of lrtrack's own.
    """
    if not isinstance(found, Mapping):
        return {}
    scoped = {
        str(block["prefix"]): block
        for scope, block in sorted(found.items())
        if isinstance(block, Mapping)
        and isinstance(block.get("prefix"), str)
        and scope == shared_runs.scope_of(block["prefix"])
    }
    if scoped and "scheduler" not in found:
        return scoped
    return {str(found.get("prefix") or ""): found, **scoped}


def phases_from(block: Mapping[str, Any], run_id: str) -> tuple[Phase, ...]:
    """The phases of a block in a config; one, of a block that was alone so far."""
    found = shared_runs.phases_from(block.get("phases"))
    if not found:
        alone = {"id": str(block.get("run_id") or run_id), "first": 0}
        schedule = schedule_from(block)
        found = ({**alone, "scheduler": schedule.to_dict(), "optimizer": block.get("optimizer")},)
    last = {**found[-1], "diagnoses": block.get("diagnoses")}  # those of all phases
    return (*found[:-1], last)


def tags(run: Run) -> list[str]:
    """W&B tags: the scheduler's name, the device type, the user's own."""
    own = [f"{name}:{text_of(value)}" for name, value in run.tags.items()]
    found = dict.fromkeys([run.schedule.name, run.device_type, *own])
    return [tag[:_TAG_LENGTH] for tag in found if tag.strip()]


def codes(run: Run) -> list[str]:
    """The codes of a run's diagnoses."""
    return list(dict.fromkeys(each["code"] for each in run.diagnoses or ()))


def notes(run: Run, target: Target) -> str:
    """The run's description."""
    where = f" --experiment {target.experiment}" if target.experiment else ""
    if run.kind == FIND:
        rates = ", ".join(f"{rate:.4g} ({way})" for way, rate in run.suggestions.items())
        told = f" It suggests a learning rate of {rates}." if rates else ""
        return f"A learning-rate range test by lrtrack {run.version}; no training.{told}"
    return (
        f"{run.schedule.label} on {run.device_name or run.device_type}, tracked by lrtrack "
        f"{run.version} at every optimizer step. Compare: lrtrack compare --tracker wandb{where}"
    )


def defined(name: str) -> str:
    """The name under which a metric's step metric is defined: one for all of `grad_norm/…`."""
    head, slash, _ = name.rpartition("/")
    return f"{head}/*" if slash else name


def schedule_from(found: Mapping[str, Any]) -> Schedule:
    """The schedule that a run's config describes; a constant one where it does not."""
    told = found.get("scheduler")
    told = told if isinstance(told, Mapping) else {}
    try:
        schedule = Schedule.from_spec(str(told["spec"]))
        _ = schedule.id, schedule.label, schedule.flat()  # what a report will ask of it
    except (KeyError, ValueError, RecursionError):
        return Schedule(str(told.get("name", CONSTANT)))
    return schedule
