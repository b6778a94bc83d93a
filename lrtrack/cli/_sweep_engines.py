"""What `lrtrack sweep` asks of its engines: their own options, and Ray's way to run one."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from click.core import ParameterSource

F = TypeVar("F", bound=Callable[..., Any])

#: Options of the command that only one engine has.
_ONLY = {
    "wandb": ("output", "start"),
    "ray": ("samples", "name", "storage", "cpus", "gpus", "resume"),
}


def options(function: F) -> F:
    """Add `--engine` and what only Ray takes."""
    for option in reversed(
        (
            click.option(
                "--engine",
                type=click.Choice(["wandb", "ray"]),
                default="wandb",
                show_default=True,
                help="W&B's agents run what is written; Ray Tune runs it now.",
            ),
            click.option(
                "--samples",
                default=10,
                show_default=True,
                type=click.IntRange(min=1),
                metavar="N",
                help="Ray: configurations that --method random draws.",
            ),
            click.option("--name", metavar="NAME", help="Ray: the sweep's name."),
            click.option("--storage", metavar="DIR", help="Ray: where it keeps the sweep."),
            click.option(
                "--cpus", type=click.FloatRange(min=0), metavar="N", help="Ray: a trial's."
            ),
            click.option(
                "--gpus", type=click.FloatRange(min=0), metavar="N", help="Ray: a trial's."
            ),
            click.option(
                "--resume", is_flag=True, help="Ray: go on with the sweep of this --name."
            ),
        )
    ):
        function = option(function)
    return function


def pair(text: str) -> tuple[str, str]:
    """A `--param`, as a name and a text.

    Raises:
        click.UsageError: it is none.
    """
    name, sign, value = text.partition("=")
    if not sign:
        raise click.UsageError(f"--param is written NAME=VALUE, not {text!r}.")
    return name.strip(), value


def check(engine: str, method: str) -> None:
    """Refuse options of another engine.

    Raises:
        click.UsageError: there is one.
    """
    context = click.get_current_context()
    for other, names in _ONLY.items():
        for name in names:
            given = context.get_parameter_source(name) is not ParameterSource.DEFAULT
            if other != engine and given:
                raise click.UsageError(f"--{name} belongs to --engine {other}, not to {engine}.")
    if engine == "ray" and method == "bayes":
        raise click.UsageError("--engine ray has --method grid or random, not bayes.")
    if engine == "ray" and context.params["resume"] and not context.params["name"]:
        raise click.UsageError("--resume needs the sweep's --name.")


def through_ray(
    schedules: Sequence[str], program: str, given: dict[str, Any], project: str | None
) -> None:
    """Run a sweep with Ray Tune, telling of each trial on stderr.

    Raises:
        click.exceptions.Exit: not all trials came to their ends; exit status 1.
    """
    from lrtrack.cli._training_script import function_of

    train = function_of(program)
    from lrtrack.integrations.ray import Lines, sweep

    metric = given["metric"]
    resources = {"cpu": given.pop("cpus"), "gpu": given.pop("gpus")}
    found = sweep(
        train,
        schedules,
        storage_path=given.pop("storage"),
        resources={name: n for name, n in resources.items() if n is not None} or None,
        callbacks=[Lines(_say, metric)],
        verbose=0,
        experiment=project,
        **given,
    )
    asked = ["--experiment", project] if project else []
    if metric not in ("loss_final", "loss_best"):
        asked += ["--metric", metric]
    _say(f"Next: {shlex.join(['lrtrack', 'compare', *asked])}")
    lost = sum(result.error is not None or metric not in (result.metrics or {}) for result in found)
    if lost:
        _say(
            f"{lost} of {len(found)} trials failed or told no {metric}; see {found.experiment_path}"
        )
        raise click.exceptions.Exit(1)


def _say(line: str) -> None:
    click.echo(line, err=True)
