"""Sweeps over schedules: open parameters of specs, and W&B's sweep configuration."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lrtrack.errors import UsageError
from lrtrack.schedules.catalogue import group_of, open_params, stages_of
from lrtrack.schedules.spec import Choice, Range, Stage, parse, write

Method = Literal["grid", "random", "bayes"]
#: The text of a spec, and its stages.
Read = tuple[str, list[Stage]]


@dataclass(frozen=True)
class OpenParameter:
    """An open parameter of a spec.

    Attributes:
        text: the spec.
        stage: the stage that has the parameter.
        name: the parameter's name in the schedule's class.
        value: the range or the alternatives.
        group: the key in a sweep's config that holds the parameters of the stage.
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

    `grid` writes out every schedule with each combination of its alternatives. `random` and `bayes`
    put the open parameters of a schedule into a group of their own, so that a run only has those
    of its schedule: `lrtrack.scheduler(opt, wandb.config)` reads them from there.

    Args:
        schedules: specs, possibly with ranges (`0.01..0.3 log`) or alternatives (`{0.1, 0.3}`).
        program: the training script that `wandb agent` runs.
        method: W&B's search method.
        metric: the metric that the sweep optimizes.
        goal: whether to minimize or maximize it.
        seeds: each configuration runs with the seeds 0 … seeds - 1.
        params: further parameters, such as `{"lr": "{0.1, 0.3}"}`, each a value, a range or
            alternatives.

    Returns:
        A mapping for `wandb.sweep()` or a YAML file.

    Raises:
        UsageError: a spec cannot be parsed, or a grid has a range.
    """
    if not schedules:
        raise UsageError("A sweep needs at least one schedule. Fix: pass --schedule SPEC.")
    specs = [(text, stages_of(text)) for text in schedules]
    extra_params = read_params(params or {})
    parameters = _grid(specs) if method == "grid" else _open_parameters(specs)
    check_names(parameters, extra_params)
    parameters["seed"] = {"values": list(range(seeds))}
    for name, value in extra_params.items():
        parameters[name] = _parameter(value, name, method)
    return {
        "program": program,
        "method": method,
        "metric": {"name": metric, "goal": goal},
        # without the parameters as arguments, which the program may not accept
        "command": ["${env}", "${interpreter}", "${program}"],
        "parameters": parameters,
    }


def _grid(specs: Sequence[Read]) -> dict[str, Any]:
    return {"schedule": {"values": expand(specs)}}


def expand(specs: Sequence[Read]) -> list[str]:
    """Write out all alternatives of specs, for a grid; each result appears once.

    Raises:
        UsageError: a spec has a range.
    """
    return list(dict.fromkeys(text for source, stages in specs for text in _expand(source, stages)))


def read_params(params: Mapping[str, str]) -> dict[str, Any]:
    """Parse the values of further parameters, which are written as in specs.

    Raises:
        UsageError: a name is not an identifier, or a value cannot be parsed.
    """
    return {name: _value_of(name, text) for name, text in params.items()}


def check_names(parameters: Iterable[str], extra_params: Iterable[str]) -> None:
    """Check that further parameters do not repeat those that the sweep sets itself.

    Raises:
        UsageError: one does.
    """
    taken = {*parameters, "schedule", "seed"} & set(extra_params)
    if taken:
        raise UsageError(
            f"The sweep already sets {', '.join(sorted(taken))} from the schedules and seeds. Fix: "
            "remove it from the further parameters."
        )


def open_parameters(specs: Sequence[Read]) -> Iterator[OpenParameter]:
    """List the open parameters of specs, with their places in a sweep's config."""
    open_stages = [{stage.at: stage.name for stage, *_ in open_params(s)} for _, s in specs]
    names = [name for stages in open_stages for name in stages.values()]
    for text, stages in specs:
        for stage, name, value in open_params(stages):
            is_unique = names.count(stage.name) == 1
            group = stage.name if is_unique else group_of(text, stage)
            yield OpenParameter(text, stage, name, value, group)


def fill_in(stages: Sequence[Stage], chosen: Mapping[tuple[int, str], Any]) -> str:
    """Write the spec of `stages` with the chosen values of its open parameters.

    Args:
        stages: the parsed spec.
        chosen: `{(stage.at, name): value}`.
    """
    return write(
        [Stage(s.name, {n: chosen.get((s.at, n), v) for n, v in s.params.items()}) for s in stages]
    )


def _expand(source: str, stages: list[Stage]) -> Iterator[str]:
    parameters = list(open_params(stages))
    for stage, name, value in parameters:
        if isinstance(value, Range):
            raise UsageError(
                f"A grid cannot use the range {stage.name}.{name} of {source!r}. Fix: list values, "
                f"as in {name}={{{value.low!r}, {value.high!r}}}, or use another method than grid."
            )
    alternatives = [v.values for *_, v in parameters if isinstance(v, Choice)]
    for values in itertools.product(*alternatives):
        chosen = {(s.at, n): v for (s, n, _), v in zip(parameters, values, strict=True)}
        yield fill_in(stages, chosen)


def _open_parameters(specs: Sequence[Read]) -> dict[str, Any]:
    parameters: dict[str, Any] = {"schedule": {"values": [text for text, _ in specs]}}
    for parameter in open_parameters(specs):
        group = parameters.setdefault(parameter.group, {"parameters": {}})["parameters"]
        label = f"{parameter.stage.name}.{parameter.name}"
        group[parameter.name] = _parameter(parameter.value, label, "random")
    return parameters


def _parameter(value: Any, name: str, method: Method) -> dict[str, Any]:
    if isinstance(value, Choice):
        return {"values": list(value.values)}
    if not isinstance(value, Range):
        return {"value": value}
    if method == "grid":
        raise UsageError(
            f"A grid cannot use a range for {name}. Fix: list values, as in {{0.1, 0.3}}."
        )
    if value.log:
        kind = "log_uniform_values"
    elif isinstance(value.low, int) and isinstance(value.high, int):
        kind = "int_uniform"
    else:
        kind = "uniform"
    return {"distribution": kind, "min": value.low, "max": value.high}


def _value_of(name: str, text: str) -> Any:
    """Parse a value that is written as in specs."""
    if not name.isidentifier():
        raise UsageError(
            f"{name!r} is not a parameter name. Fix: write NAME=VALUES, as in lr={{0.1, 0.3}}."
        )
    (stage,) = parse(f"{name}(value={text})")
    return stage.params["value"]
