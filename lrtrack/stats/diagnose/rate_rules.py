"""Rules on how schedule and learning rate fit together: LR014 to LR018."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lrtrack.number_text import count, times
from lrtrack.schedules import CONSTANT
from lrtrack.stats.diagnose.observations import Observations
from lrtrack.stats.diagnose.rule import Diagnosis, RunFacts, diagnosis, share
from lrtrack.stats.diagnose.thresholds import (
    FAR,
    FAST_DECAY,
    FEW,
    HANDFUL,
    IDLE,
    LONG_ENOUGH,
    OVER_EARLY,
    RESTARTS,
    SHORT_CYCLE,
    USED,
    USED_UP,
)

#: Schedules that move the rate at every one of their steps.
_EACH_STEP = (
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "OneCycleLR",
)
_COSINES = ("CosineAnnealingLR", "CosineAnnealingWarmRestarts")
_PER_EPOCH = (
    "step the scheduler once per epoch, after the loop over batches, or give its lengths in "
    "optimizer steps"
)


def _leaves(schedule: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the schedules inside a schedule that have no schedules inside; itself if none."""
    if not isinstance(schedule, Mapping):
        return
    inner = schedule.get("schedulers")
    if isinstance(inner, list | tuple):
        for part in inner:
            yield from _leaves(part)
    else:
        yield schedule


def _number(value: Any) -> float | None:
    """A setting of group 0 as a number."""
    if isinstance(value, list | tuple) and value:
        value = value[0]
    return float(value) if type(value) in (int, float) else None


def stepped_per_batch(run: RunFacts) -> Diagnosis | None:
    """LR014: a schedule whose settings count epochs was stepped after every batch.

    Judged by what it did to the rate, because one epoch may be one batch.
    """
    statistics = run.statistics
    rates = statistics.evidence.rates
    if statistics.recorded < LONG_ENOUGH or statistics.plateau is not None or not rates.changes:
        return None
    for part in _leaves(run.schedule.to_dict()):
        effect = _effect_per_batch(part, run)
        if effect:
            return diagnosis(
                "LR014",
                f"{run.name} seems to be stepped after every batch, although its settings "
                f"count epochs: {effect}.",
                f"{_PER_EPOCH}; ignore this if one batch is your whole data",
            )
    return None


def _effect_per_batch(part: Mapping[str, Any], run: RunFacts) -> str:
    """What stepping a schedule per batch did to the rate; empty if it was not stepped so."""
    rates, recorded = run.statistics.evidence.rates, run.statistics.recorded
    name, decay = part.get("name"), _number(part.get("gamma"))
    steps = rates.changed_at - (rates.began_at or 0)
    pace = steps / rates.changes
    if name == "CosineAnnealingWarmRestarts":
        cycle = _number(part.get("T_0"))
        again = rates.rises >= RESTARTS and part.get("T_mult", 1) == 1
        if cycle and again and cycle <= SHORT_CYCLE and steps / rates.rises <= 1.5 * cycle:
            return (
                f"with T_0={cycle:g}, it restarted {rates.rises:,} times in "
                f"{count(recorded, 'recorded step')}"
            )
        return ""
    if decay is None or not 0.0 < decay < 1.0:
        return ""
    idle = run.statistics.under(USED_UP)
    low = (
        f"the learning rate was under a thousandth of its peak ({run.statistics.peak:.4g}) in "
        f"{share(idle, recorded)} of the recorded steps"
    )
    if name == "ExponentialLR":
        fast = decay <= FAST_DECAY and pace <= 1.5 and idle > IDLE * recorded
        return f"with gamma={decay:g}, {low}" if fast else ""
    if name == "StepLR":
        size = _number(part.get("step_size")) or 0.0
        fast = 0.0 < pace <= 1.5 * size and idle > IDLE * recorded
        return f"with step_size={size:g}, {low}" if fast and size * 10 <= recorded else ""
    if name == "MultiStepLR":
        return _milestones_in_steps(part, run, steps)
    return ""


def _milestones_in_steps(part: Mapping[str, Any], run: RunFacts, steps: int) -> str:
    milestones = part.get("milestones")
    if not isinstance(milestones, list | tuple) or not milestones:
        return ""
    last = _number(milestones[-1]) or 0.0
    statistics = run.statistics
    made = statistics.recorded if run.observations is None else run.observations.total
    fallen = statistics.evidence.rates.last <= 0.1 * (1.0 + 1e-9) * statistics.peak
    if not 0.0 < last <= OVER_EARLY * made or not fallen or not last / 2 <= steps <= last + 2:
        return ""
    return (
        f"its last milestone, {last:g}, came {share(int(last), made)} into the training, and left "
        f"{statistics.evidence.rates.last:.2g} of a peak of {statistics.peak:.4g}"
    )


def without_effect(run: RunFacts) -> Diagnosis | None:
    """LR015: the scheduler was stepped, and the learning rate never changed.

    Not reported where a schedule is constant by its settings, or hides what it does in a function.
    """
    observed, statistics = run.observations, run.statistics
    if observed is None or run.name == CONSTANT or statistics.plateau is not None:
        return None
    if not statistics.still or statistics.recorded < FEW or observed.moves < HANDFUL:
        return None
    rate = f"the learning rate stayed at {statistics.peak:.4g} in all of them"
    steps = count(observed.steps, "optimizer step")
    if observed.mismatch is not None or _should_have_moved(run, observed):
        return diagnosis(
            "LR015",
            f"{run.name} was stepped in {steps}, and {rate}: it moves another optimizer's rate, or "
            "something sets the rate back.",
            "create the scheduler with the optimizer that makes the steps, after the last time "
            "that this is created or wrapped",
        )
    first = _first_change(run)
    used = observed.position or 0
    length = run.length
    is_reported = length is not None and used < USED * length.steps  # as LR002
    if not run.finished or first is None or used >= first or is_reported:
        return None
    return diagnosis(
        "LR015",
        f"{run.name} was stepped {count(used, 'time')}, and {rate}: its first change comes at its "
        f"step {first:g}.",
        "give its lengths in the unit in which it is stepped (epochs or optimizer steps), or train "
        "without a scheduler",
    )


def _should_have_moved(run: RunFacts, observed: Observations) -> bool:
    """Whether a schedule's settings say that the rate changes between recorded steps."""
    data = run.schedule.to_dict()
    begun, used = observed.begun, observed.used
    if begun is None or observed.position is None:
        return False
    used -= 2 * -(-observed.steps // run.statistics.recorded)  # the last steps have no record
    if used <= begun:
        return False
    name, decay = data.get("name"), _number(data.get("gamma"))
    if name in _EACH_STEP:
        lowest = _number(data.get("eta_min"))
        flat = lowest is not None and abs(lowest - run.statistics.peak) <= 1e-6 * abs(lowest)
        same = "max_lr" in data and data.get("max_lr") == data.get("base_lr")
        return not (flat or same or (name == "ExponentialLR" and decay == 1.0))
    if decay is None or decay == 1.0:
        return False
    if name == "StepLR":
        size = int(_number(data.get("step_size")) or 0)
        return size > 0 and used // size > begun // size
    milestones = data.get("milestones") if name == "MultiStepLR" else None
    if isinstance(milestones, list | tuple):
        return any(begun < (_number(step) or 0.0) <= used for step in milestones)
    return False


def _first_change(run: RunFacts) -> float | None:
    """The scheduler step at which the rate first changes; None where that is unknown."""
    data = run.schedule.to_dict()
    if _number(data.get("gamma")) in (None, 1.0):
        return None
    if data.get("name") == "StepLR":
        return _number(data.get("step_size"))
    milestones = data.get("milestones") if data.get("name") == "MultiStepLR" else None
    if isinstance(milestones, list | tuple) and milestones:
        return _number(milestones[0])
    return None


def rate_ignored(run: RunFacts) -> Diagnosis | None:
    """LR016: the schedule replaces the optimizer's learning rate by a very different one."""
    given = None if run.observations is None else run.observations.given_rate
    if given is None or not given > 0.0:
        return None
    for part in _leaves(run.schedule.to_dict()):
        name, top = part.get("name"), _number(part.get("max_lr"))
        if name not in ("OneCycleLR", "CyclicLR") or not top:
            continue
        factor = _number(part.get("div_factor")) or 25.0
        low = top / factor if name == "OneCycleLR" else _number(part.get("base_lr")) or top
        if low / FAR <= given <= FAR * max(low, top):
            continue
        lowest = f"div_factor={factor:g}" if name == "OneCycleLR" else "base_lr"
        return diagnosis(
            "LR016",
            f"the optimizer's lr={given:g} was never used: {name} sets the learning rate itself, "
            f"from {low:.4g} ({lowest}) to {top:.4g} (max_lr), {_ratio(top, given)} lr.",
            "set max_lr to the highest learning rate that you want, and the optimizer's lr to the "
            "same",
        )
    return None


def _ratio(top: float, given: float) -> str:
    return times(top / given) if top > given else f"{times(given / top)} below"


def floor_above(run: RunFacts) -> Diagnosis | None:
    """LR017: a cosine ends at a higher learning rate than it begins with."""
    data = run.schedule.to_dict()
    first = run.statistics.evidence.rates.first
    for part in _leaves(data):
        floor = _number(part.get("eta_min", part.get("lr_min")))
        if part.get("name") not in _COSINES and "lr_min" not in part:
            continue
        # A warm-up begins below, so that first rates only count where the cosine stands alone.
        alone = part.get("name") == data.get("name") in _COSINES
        below = {name: lr for name, lr in first.items() if alone and floor and 0.0 < lr < floor}
        own = run.setup.rate
        if not below and floor and own is not None and 0.0 < own < floor and not len(first) > 1:
            below = {"": own}
        if floor is None or not below or not run.statistics.recorded:
            continue
        name, lr = next(iter(below.items()))
        if not floor > lr * (1.0 + 1e-6):
            continue
        of = f" of param group {name}" if name else ""
        return diagnosis(
            "LR017",
            f"eta_min={floor:g} is above the learning rate{of}, {lr:.4g}: {part.get('name')} "
            f"raises it {times(floor / lr)} instead of lowering it.",
            "set eta_min below the learning rate of every param group, such as a hundredth of it",
        )
    return None


def group_at_zero(run: RunFacts) -> Diagnosis | None:
    """LR018: a param group had the learning rate 0 all the time, while others were trained."""
    highest = run.statistics.evidence.rates.highest
    rests = [name for name, lr in highest.items() if lr == 0.0]
    trained = any(lr > 0.0 for lr in highest.values())
    if not run.finished or not rests or not trained or run.statistics.recorded < HANDFUL:
        return None
    names = ", ".join(rests[:5]) + ", …" * (len(rests) > 5)
    return diagnosis(
        "LR018",
        f"param group{'' if len(rests) == 1 else 's'} {names} had the learning rate 0 in all "
        f"{count(run.statistics.recorded, 'recorded step')}: these parameters were never trained, "
        "although their gradients were computed.",
        "give the group a learning rate. If you freeze it on purpose, set requires_grad=False, "
        "which saves time and memory",
    )


OF_OPTIMIZER = (stepped_per_batch, without_effect, rate_ignored, floor_above, group_at_zero)
#: Those that can be certain while the training runs.
EARLY = (stepped_per_batch, without_effect, rate_ignored, floor_above)
