"""Config, tags, notes and metric definitions of a run in W&B."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lrtrack.fields import plain, text_of
from lrtrack.records import FIND, TRAIN, Rewind, Run, Target, abandoned, rewinds_from
from lrtrack.records import rewinds_listed as rewinds_listed
from lrtrack.schedules import CONSTANT, Schedule
from lrtrack.trackers import shared_runs
from lrtrack.trackers.shared_runs import Phase

#: The config key that holds all config of lrtrack.
CONFIG = "lrtrack"
#: The step metric: W&B plots all other metrics of lrtrack against it.
STEP = "lrtrack/step"
#: The summary key of the diagnoses' codes, by which users can filter runs.
DIAGNOSES = "lrtrack/diagnoses"
#: The longest title of an alert that W&B accepts.
_ALERT_TITLE = 63
_TAG_LENGTH = 64  # W&B refuses longer ones
#: What the blocks of one run share.
COMMON = ("version", "torch", "device", "world_size", "started")


def config(run: Run, target: Target | None = None) -> dict[str, Any]:
    """The value of the config key `lrtrack`: documented fields, and those that reading needs.

    In a run that the user opened, a block with the prefix `D/` has its config under `lrtrack.D`;
    see `scope_of` for other prefixes.

    Args:
        run: the block.
        target: its destination and the phases before it; None: the block has a run for itself.
    """
    phases = () if target is None else phases_of(run, target)
    fields = _block(shared_runs.course(run, phases), phases)
    if target is not None and target.parent is not None:
        fields["parent"] = target.parent
    if run.parent is not None:
        fields |= {"parent": run.parent, "branched_at": run.branched_at}
    if run.rewinds:
        fields["rewinds"] = rewinds_listed(run.rewinds)
        if steps := abandoned(run.rewinds):  # a branch may have moved nothing but its beginning
            fields["rewound"] = steps
    joined = target is not None and target.joined
    if joined:  # the state is that of the user's run
        fields["state"] = run.outcome
    scope = shared_runs.scope_of(run.prefix) if joined else ""
    if scope:
        common = [name for name in COMMON if name in fields]
        fields = {**{name: fields[name] for name in common}, scope: fields}
    return dict(plain(fields))


def phases_of(run: Run, target: Target) -> tuple[Phase, ...]:
    """The phases of the run, this block last; empty if the block is alone."""
    if not target.phases:
        return ()
    return shared_runs.listed((*target.phases, shared_runs.phase_of(run, target.first)))


def _block(run: Run, phases: Sequence[Phase]) -> dict[str, Any]:
    schedule = run.schedule
    scheduler = {**schedule.to_dict(), "id": schedule.id, "spec": schedule.spec}
    scheduler["source"] = schedule.source
    # W&B never removes keys that an earlier phase wrote, so they are set to None.
    obsolete = set(phases[0].get("scheduler") or ()) if len(phases) > 1 else set()
    fields = {
        "version": run.version,
        "run_id": phases[0]["id"] if phases else run.id,
        "device": {"type": run.device_type, "name": run.device_name},
        "world_size": run.world_size,
        "optimizer": dict(run.optimizer),
        "scheduler": {**dict.fromkeys(obsolete - scheduler.keys()), **scheduler},
        "seed": run.seed,
        "group": run.group,
        "prefix": run.prefix,
        "tags": dict(run.tags),
        "config": dict(run.config),
        "started": run.started,
    }
    if phases:
        names = ("id", "first", "scheduler", "optimizer")
        fields["phases"] = [{name: phase.get(name) for name in names} for phase in phases]
    if phases or run.total_steps is not None:  # an earlier phase may have written a number
        fields["total_steps"] = run.total_steps
    if run.torch_version:
        fields["torch"] = run.torch_version
    if run.kind != TRAIN:
        fields |= {"kind": run.kind, "suggestion": dict(run.suggestions)}
    if run.diagnoses is not None:
        fields["diagnoses"] = [dict(diagnosis) for diagnosis in run.diagnoses]
    return fields


def blocks_of(config: Any) -> dict[str, Mapping[str, Any]]:
    """The blocks that the value of the config key `lrtrack` describes, by prefix.

    The block without a scope comes first if there is one. A run that lrtrack opened has no other.
    """
    if not isinstance(config, Mapping):
        return {}
    scoped = {
        str(block["prefix"]): block
        for scope, block in sorted(config.items())
        if isinstance(block, Mapping)
        and isinstance(block.get("prefix"), str)
        and scope == shared_runs.scope_of(block["prefix"])
    }
    if scoped and "scheduler" not in config:
        return scoped
    return {str(config.get("prefix") or ""): config, **scoped}


def rewinds_by_prefix(config: Any) -> dict[str, tuple[Rewind, ...]]:
    """The rewinds of each block in the value of the config key `lrtrack`, by its prefix."""
    blocks = blocks_of(config)
    return {prefix: rewinds_from(block.get("rewinds")) for prefix, block in blocks.items()}


def phases_from(block: Mapping[str, Any], run_id: str) -> tuple[Phase, ...]:
    """The phases of a block in a config, or one phase for a block that lists none."""
    phases = shared_runs.phases_from(block.get("phases"))
    if not phases:
        alone = {"id": str(block.get("run_id") or run_id), "first": 0}
        schedule = schedule_from(block)
        phases = ({**alone, "scheduler": schedule.to_dict(), "optimizer": block.get("optimizer")},)
    last = {**phases[-1], "diagnoses": block.get("diagnoses")}  # those of all phases
    return (*phases[:-1], last)


def tags(run: Run) -> list[str]:
    """W&B tags: the scheduler's name, the device type and the user's own."""
    own = [f"{name}:{text_of(value)}" for name, value in run.tags.items()]
    names = dict.fromkeys([run.schedule.name, run.device_type, *own])
    return [tag[:_TAG_LENGTH] for tag in names if tag.strip()]


def codes(run: Run) -> list[str]:
    """The codes of a run's diagnoses."""
    return list(dict.fromkeys(diagnosis["code"] for diagnosis in run.diagnoses or ()))


def alerts(run: Run) -> dict[str, tuple[str, str]]:
    """Title and text of an alert for each code, for a run that goes on."""
    texts: dict[str, list[str]] = {}
    for diagnosis in run.diagnoses or ():
        text = f"{diagnosis['message']} Fix: {diagnosis['hint']}."
        texts.setdefault(diagnosis["code"], []).append(text)
    return {
        code: (f"{code} in run {run.name}"[:_ALERT_TITLE], "\n".join(lines))
        for code, lines in texts.items()
    }


def notes(run: Run, target: Target) -> str:
    """The run's description."""
    where = f" --experiment {target.experiment}" if target.experiment else ""
    if run.kind == FIND:
        rates = ", ".join(f"{rate:.4g} ({name})" for name, rate in run.suggestions.items())
        suggestion = f" It suggests a learning rate of {rates}." if rates else ""
        return f"A learning-rate range test by lrtrack {run.version}; no training.{suggestion}"
    return (
        f"{run.schedule.label} on {run.device_name or run.device_type}, tracked by lrtrack "
        f"{run.version} at every optimizer step. Compare: lrtrack compare --tracker wandb{where}"
    )


def metric_pattern(name: str) -> str:
    """The pattern that defines a metric's step metric: `grad_norm/*` for all `grad_norm/…`."""
    head, slash, _ = name.rpartition("/")
    return f"{head}/*" if slash else name


def schedule_from(block: Mapping[str, Any]) -> Schedule:
    """The schedule that a run's config describes; a constant one if it describes none."""
    scheduler = block.get("scheduler")
    scheduler = scheduler if isinstance(scheduler, Mapping) else {}
    try:
        schedule = Schedule.from_spec(str(scheduler["spec"]))
        _ = schedule.id, schedule.label, schedule.flat()  # all that reports use must work
    except (KeyError, ValueError, RecursionError):
        return Schedule(str(scheduler.get("name", CONSTANT)))
    return schedule
