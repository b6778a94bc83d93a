"""The engine-specific part of `lrtrack sweep`: each engine's options, and sweeps run by Ray."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from lrtrack.cli._options import add_all

F = TypeVar("F", bound=Callable[..., Any])

#: Options that only one engine accepts.
_ENGINE_OPTIONS = {
    "wandb": ("output", "start"),
    "ray": ("samples", "name", "storage", "cpus", "gpus", "resume"),
}


def options(function: F) -> F:
    """Add `--engine` and the options that only Ray accepts."""
    return add_all(
        (
            click.option(
                "--engine",
                type=click.Choice(["wandb", "ray"]),
                default="wandb",
                show_default=True,
                help="wandb writes a sweep for W&B agents; ray runs it now with Ray Tune.",
            ),
            click.option(
                "--samples",
                default=10,
                show_default=True,
                type=click.IntRange(min=1),
                metavar="N",
                help="Configurations to draw with --method random (Ray).",
            ),
            click.option("--name", metavar="NAME", help="Name of the sweep (Ray)."),
            click.option("--storage", metavar="DIR", help="Directory for the sweep's state (Ray)."),
            click.option(
                "--cpus", type=click.FloatRange(min=0), metavar="N", help="CPUs per trial (Ray)."
            ),
            click.option(
                "--gpus", type=click.FloatRange(min=0), metavar="N", help="GPUs per trial (Ray)."
            ),
            click.option("--resume", is_flag=True, help="Resume the sweep called --name (Ray)."),
        ),
        function,
    )


def parse_param(text: str) -> tuple[str, str]:
    """Split the value of `--param` into a name and a text.

    Raises:
        click.UsageError: `text` has no `=`.
    """
    name, sign, value = text.partition("=")
    if not sign:
        raise click.UsageError(f"--param {text!r} has no value. Fix: write it as NAME=VALUE.")
    return name.strip(), value


def check(engine: str, method: str) -> None:
    """Refuse options that `engine` does not accept.

    Raises:
        click.UsageError: an option was given that `engine` does not accept, or --resume without
            --name.
    """
    context = click.get_current_context()
    for other, names in _ENGINE_OPTIONS.items():
        for name in names:
            is_set = context.get_parameter_source(name) is not ParameterSource.DEFAULT
            if other != engine and is_set:
                raise click.UsageError(f"--{name} works only with --engine {other}, not {engine}.")
    if engine == "ray" and method == "bayes":
        raise click.UsageError(
            "--engine ray does not support --method bayes. Fix: use grid or random."
        )
    if engine == "ray" and context.params["resume"] and not context.params["name"]:
        raise click.UsageError("--resume needs the name of the sweep. Fix: add --name.")


def run_with_ray(
    schedules: Sequence[str], program: str, options: dict[str, Any], project: str | None
) -> None:
    """Run a sweep with Ray Tune and report each trial on stderr.

    Raises:
        click.exceptions.Exit: a trial failed or did not report the metric; exit status 1.
    """
    from lrtrack.cli._training_script import function_of

    train = function_of(program)
    from lrtrack.integrations.ray import Lines, sweep

    metric = options["metric"]
    resources = {"cpu": options.pop("cpus"), "gpu": options.pop("gpus")}
    results = sweep(
        train,
        schedules,
        storage_path=options.pop("storage"),
        resources={name: n for name, n in resources.items() if n is not None} or None,
        callbacks=[Lines(_say, metric)],
        verbose=0,
        experiment=project,
        **options,
    )
    arguments = ["--experiment", project] if project else []
    if metric not in ("loss_final", "loss_best"):
        arguments += ["--metric", metric]
    _say(f"Next: {shlex.join(['lrtrack', 'compare', *arguments])}")
    failed = sum(
        result.error is not None or metric not in (result.metrics or {}) for result in results
    )
    if failed:
        _say(
            f"{failed} of {len(results)} trials failed or did not report {metric}. "
            f"See {results.experiment_path}"
        )
        raise click.exceptions.Exit(1)


def _say(line: str) -> None:
    click.echo(line, err=True)
