"""Several blocks in one run of a tracker: their names there, and the run they form together.

Blocks share a run in two ways. Blocks with different prefixes run side by side, such as the two
optimizers of a GAN: each has a *scope*, the name under which its tags, params and config are
stored. Blocks with the same prefix follow each other, such as a head that is trained before the
whole network is fine-tuned: they are the *phases* of one scope, and each phase continues counting
steps where the one before it ended.

A phase is a mapping: `id` (lrtrack's id of the block), `first` (the run's step at which it begins),
`scheduler` and `optimizer` (as `Schedule.to_dict()` and `Run.optimizer`), and `diagnoses`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lrtrack.records import STEP_METRICS, Run, State, Target, diagnoses_from
from lrtrack.schedules import CONSTANT, Schedule, side_by_side

Phase = Mapping[str, Any]

#: The most phases of one run that are listed: the first, and the latest ones.
MOST = 16

#: Names below `lrtrack` that have a meaning already, so that no scope may have them.
_RESERVED = re.compile(
    r"phase\d+|version|device|world_size|optimizer|scheduler|schedule|seed|config|group|prefix|tags"
    r"|kind|suggestions?|diagnoses|run_id|started|phases|parent|branched_at|rewound|rewinds"
    r"|total_steps|history|machine|report|step|state|torch"
)


def state_of(block: Run, state: State) -> State:
    """The state of a block, which may have ended although the user's run goes on.

    Args:
        block: the block.
        state: that of the tracker's run.
    """
    return block.outcome or state if state is State.RUNNING else state


def scope_of(prefix: str) -> str:
    """The name of a block's prefix below `lrtrack`: `D` for `D/`, empty for an empty prefix.

    Different prefixes have different scopes: four hex digits of its hash are added to a prefix that
    is more than words between slashes, or whose name is reserved.
    """
    name = prefix.removesuffix("/")
    words = re.fullmatch(r"[\w-]+(/[\w-]+)*", name, re.ASCII)
    separated = prefix.endswith("/") != name.endswith(("_", "-"))
    if not prefix or (words and separated and not _RESERVED.fullmatch(name.partition("/")[0])):
        return name
    digits = hashlib.sha256(prefix.encode()).hexdigest()[:4]
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '_', name)}-{digits}"


def phase_of(run: Run, first: int) -> dict[str, Any]:
    """Describe a block as a phase.

    Args:
        run: the block.
        first: the step of the tracker's run at which it begins.
    """
    return {
        "id": run.id,
        "first": first,
        "scheduler": run.schedule.to_dict(),
        "optimizer": dict(run.optimizer),
        "diagnoses": [dict(diagnosis) for diagnosis in run.diagnoses or ()],
    }


def head(target: Target) -> str | None:
    """The id of the first block in the tracker's run; None where it is this block."""
    return target.phases[0]["id"] if target.phases else None


def before(target: Target) -> str | None:
    """The id of the block before this one in the tracker's run; None for the first block."""
    return target.phases[-1]["id"] if target.phases else None


def listed(phases: Iterable[Phase]) -> tuple[Phase, ...]:
    """Order phases by their steps, each once; of more than `MOST`, drop some in the middle."""
    by_id = {phase["id"]: phase for phase in phases}
    ordered = sorted(by_id.values(), key=lambda phase: phase["first"])
    return tuple(ordered if len(ordered) <= MOST else [ordered[0], *ordered[1 - MOST :]])


def phases_from(data: Any) -> tuple[Phase, ...]:
    """Read phases from a tracker; anything that is no phase is dropped."""
    if not isinstance(data, list | tuple):
        return ()
    return tuple(phase for phase in data if _is_phase(phase))


def _is_phase(data: Any) -> bool:
    if not isinstance(data, Mapping) or not isinstance(data.get("id"), str):
        return False
    return type(data.get("first")) is int and data["first"] >= 0


def course(run: Run, phases: Sequence[Phase]) -> Run:
    """Join a run's phases into one `Run`, with the schedules and diagnoses of all, in order.

    Args:
        run: one of the blocks.
        phases: all phases; none for a block that is alone.
    """
    if len(phases) < 2:
        return run
    optimizer = phases[0].get("optimizer")
    earlier = [
        diagnosis
        for phase in phases
        if phase["id"] != run.id
        for diagnosis in diagnoses_from(phase.get("diagnoses")) or ()
    ]
    first = next((phase["first"] for phase in phases if phase["id"] == run.id), 0)
    return replace(
        run,
        total_steps=None if run.total_steps is None else first + run.total_steps,
        schedule=chain(phase.get("scheduler") for phase in phases),
        optimizer=optimizer if isinstance(optimizer, Mapping) else run.optimizer,
        diagnoses=None if run.diagnoses is None else (*earlier, *run.diagnoses),
    )


def alone(run: Run, phase: Phase) -> Run:
    """`run` with the schedule and the optimizer of one phase."""
    optimizer = phase.get("optimizer")
    optimizer = optimizer if isinstance(optimizer, Mapping) else run.optimizer
    return replace(run, schedule=chain([phase.get("scheduler")]), optimizer=optimizer)


def chain(schedules: Iterable[Any]) -> Schedule:
    """Chain schedules into one: `first -> second`; equal neighbours become one.

    Args:
        schedules: mappings as `Schedule.to_dict()` returns them; anything else is dropped.
    """
    parts: list[Schedule] = []
    for data in schedules:
        try:
            schedule = Schedule.from_dict(data)
        except (AttributeError, TypeError, ValueError):
            continue
        if not parts or parts[-1] != schedule:
            parts.append(schedule)
    if len(parts) < 2:
        return parts[0] if parts else Schedule(CONSTANT)
    name = " -> ".join(part.name for part in parts)
    return Schedule(name, {"schedulers": [part.to_dict() for part in parts]})


def together(blocks: Mapping[str, tuple[Schedule, Mapping[str, Any]]]) -> tuple[Schedule, Any]:
    """Join the schedules and the optimizers of blocks that run side by side, by scope.

    Args:
        blocks: scope to schedule and optimizer, not empty. Those of a single block are unchanged.
    """
    if len(blocks) == 1:
        return next(iter(blocks.values()))
    schedules = {scope: schedule for scope, (schedule, _) in blocks.items()}
    optimizers = {scope: optimizer for scope, (_, optimizer) in blocks.items()}
    optimizer: dict[str, Any] = {
        "name": " + ".join(str(params.get("name", "")) for params in optimizers.values())
    }
    for scope, params in optimizers.items():
        optimizer |= {f"{scope}.{k}".lstrip("."): v for k, v in params.items() if k != "name"}
    return side_by_side({scope or "-": schedules[scope] for scope in schedules}), optimizer


def arrays_of_block(
    arrays: Mapping[str, Any], prefix: str, prefixes: Iterable[str]
) -> Mapping[str, Any]:
    """The steps of one block in a run that it shares with blocks of other prefixes.

    Metrics that the user logged under no block's prefix belong to all of them, unlike those that
    lrtrack recorded for a block without a prefix.

    Args:
        arrays: those of a `History` of the whole run, by its field names.
        prefix: the block's.
        prefixes: those of all blocks.
    """
    others = {other for other in prefixes if other != prefix}
    if not others:
        return arrays
    own = [name for name in arrays["metrics"] if _belongs(name, prefix, others)]
    marked = [name for name in own if not prefix or name.startswith(prefix)]
    rows = np.zeros(len(arrays["steps"]), dtype=bool)
    for name in marked:
        rows |= arrays["present"][name]
    return {
        "steps": arrays["steps"][rows],
        "times": arrays["times"][rows],
        "metrics": {name: arrays["metrics"][name][rows] for name in own},
        "present": {name: arrays["present"][name][rows] for name in own},
    }


def _belongs(name: str, prefix: str, others: Iterable[str]) -> bool:
    if prefix and name.startswith(prefix):
        return not any(len(o) > len(prefix) and name.startswith(o) for o in others)
    if any(other and name.startswith(other) for other in others):
        return False
    plain_is_another = "" in others
    return not (plain_is_another and (name == "loss" or name.partition("/")[0] in STEP_METRICS))
