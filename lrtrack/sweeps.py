"""Sweeps over schedules: what specs leave open, and W&B's sweep configuration of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lrtrack.errors import UsageError
from lrtrack.schedules.catalogue import group_of, open_params, stages_of
from lrtrack.schedules.spec import Choice, Range, Stage, parse, write

Method = Literal["grid", "random", "bayes"]
#: A spec as it was written, and its stages.
Read = tuple[str, list[Stage]]


@dataclass(frozen=True)
class Open:
    """A parameter that a spec leaves open.

    Attributes:
        text: the spec.
        stage: of it.
        name: the parameter's, as the schedule's class calls it.
        value: what it may be.
        group: under which name a sweep's config has the stage's parameters.
    """

    text: str
    stage: Stage
    name: str
    value: Range | Choice
    group: str


def sweep(
    schedules: Sequence[str],
    *,
    program: str,
    method: Method = "grid",
    metric: str = "loss_final",
    goal: Literal["minimize", "maximize"] = "minimize",
    seeds: int = 3,
    params: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Configure a sweep over schedules × seeds × further parameters.

    Under `grid` every schedule is written out with each combination of its alternatives. Under
    `random` and `bayes` the parameters that a schedule leaves open stand in a group of its own,
    so that a run has only those of its schedule: `lrtrack.scheduler(opt, wandb.config)` takes
    them from there.

    Args:
        schedules: specs; ranges (`0.01..0.3 log`) and alternatives (`{0.1, 0.3}`) are open.
        program: what `wandb agent` runs.
        method: W&B's search method.
        metric: what the sweep looks at.
        goal: whether it should be small or large.
        seeds: each configuration runs with the seeds 0 … seeds - 1.
        params: further parameters, such as `{"lr": "{0.1, 0.3}"}`, each a value, a range or
            alternatives.

    Returns:
        A mapping for `wandb.sweep()` or a YAML file.

    Raises:
        UsageError: a spec cannot be read, or a grid is given a range.
    """
    if not schedules:
        raise UsageError("A sweep needs at least one --schedule.")
    read = [(text, stages_of(text)) for text in schedules]
    further = further_params(params or {})
    parameters = _grid(read) if method == "grid" else _open(read)
    check_names(parameters, further)
    parameters["seed"] = {"values": list(range(seeds))}
    for name, value in further.items():
        parameters[name] = _parameter(value, name, method)
    return {
        "program": program,
        "method": method,
        "metric": {"name": metric, "goal": goal},
        # without the parameters as arguments, which a plain program does not know
        "command": ["${env}", "${interpreter}", "${program}"],
        "parameters": parameters,
    }


def _grid(read: Sequence[Read]) -> dict[str, Any]:
    return {"schedule": {"values": expanded(read)}}


def expanded(read: Sequence[Read]) -> list[str]:
    """All specs of a grid: each with its alternatives written out, and none twice.

    Raises:
        UsageError: one has a range.
    """
    return list(dict.fromkeys(text for source, stages in read for text in _each(source, stages)))


def further_params(params: Mapping[str, str]) -> dict[str, Any]:
    """Further parameters of a sweep, read as specs write values.

    Raises:
        UsageError: a name is none, or a value cannot be read.
    """
    return {name: _value_of(name, text) for name, text in params.items()}


def check_names(parameters: Iterable[str], further: Iterable[str]) -> None:
    """Refuse further parameters that the sweep decides by itself.

    Raises:
        UsageError: there is one.
    """
    taken = {*parameters, "schedule", "seed"} & set(further)
    if taken:
        raise UsageError(f"{', '.join(sorted(taken))} is decided by the schedules and seeds.")


def opened(read: Sequence[Read]) -> Iterator[Open]:
    """What the specs leave open, and where in a sweep's config it is decided."""
    within = [{stage.at: stage.name for stage, *_ in open_params(stages)} for _, stages in read]
    names = [name for stages in within for name in stages.values()]
    for text, stages in read:
        for stage, name, value in open_params(stages):
            alone = names.count(stage.name) == 1
            yield Open(text, stage, name, value, stage.name if alone else group_of(text, stage))


def decided(stages: Sequence[Stage], chosen: Mapping[tuple[int, str], Any]) -> str:
    """The spec of `stages` with `{(stage.at, name): value}` in the place of what is open."""
    return write(
        [Stage(s.name, {n: chosen.get((s.at, n), v) for n, v in s.params.items()}) for s in stages]
    )


def _each(source: str, stages: list[Stage]) -> Iterator[str]:
    found = list(open_params(stages))
    for stage, name, value in found:
        if isinstance(value, Range):
            raise UsageError(
                f"A grid cannot hold the range {stage.name}.{name} of {source!r}: list values, as "
                f"in {name}={{{value.low!r}, {value.high!r}}}, or use another method than grid."
            )
    alternatives = [v.values for *_, v in found if isinstance(v, Choice)]
    for values in itertools.product(*alternatives):
        yield decided(stages, {(s.at, n): v for (s, n, _), v in zip(found, values, strict=True)})


def _open(read: Sequence[Read]) -> dict[str, Any]:
    parameters: dict[str, Any] = {"schedule": {"values": [text for text, _ in read]}}
    for each in opened(read):
        inside = parameters.setdefault(each.group, {"parameters": {}})["parameters"]
        inside[each.name] = _parameter(each.value, f"{each.stage.name}.{each.name}", "random")
    return parameters


def _parameter(value: Any, name: str, method: Method) -> dict[str, Any]:
    if isinstance(value, Choice):
        return {"values": list(value.values)}
    if not isinstance(value, Range):
        return {"value": value}
    if method == "grid":
        raise UsageError(f"A grid cannot hold a range for {name}: list values as {{0.1, 0.3}}.")
    if value.log:
        kind = "log_uniform_values"
    elif isinstance(value.low, int) and isinstance(value.high, int):
        kind = "int_uniform"
    else:
        kind = "uniform"
    return {"distribution": kind, "min": value.low, "max": value.high}


def _value_of(name: str, text: str) -> Any:
    """A value as specs write them."""
    if not name.isidentifier():
        raise UsageError(f"A parameter needs a name, as in lr={{0.1, 0.3}}, not {name!r}.")
    (stage,) = parse(f"{name}(value={text})")
    return stage.params["value"]
