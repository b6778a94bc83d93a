"""`lrtrack sweep`: write, and if asked to start, a W&B sweep over schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lrtrack.cli import _options


@click.command(short_help="Write (and start) a W&B sweep over schedules.")
@click.option(
    "--schedule",
    "schedules",
    multiple=True,
    required=True,
    metavar="SPEC",
    help='As "onecycle(max_lr=0.01..0.3 log, total_steps=1000)". Repeatable.',
)
@click.option("--program", required=True, metavar="FILE", help="What the agent runs.")
@click.option(
    "--method",
    type=click.Choice(["grid", "random", "bayes"]),
    default="grid",
    show_default=True,
)
@click.option("--metric", default="loss_final", show_default=True, metavar="NAME")
@click.option(
    "--goal", type=click.Choice(["minimize", "maximize"]), help="Default: by the metric's name."
)
@click.option(
    "--seeds",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="Runs of each configuration.",
)
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="A further parameter: a value, a range or alternatives, as lr={0.1, 0.3}. Repeatable.",
)
@click.option("--project", metavar="[ENTITY/]PROJECT", help="Where a started sweep goes.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write there instead of to the terminal.",
)
@click.option("--start", is_flag=True, help="Register the sweep with W&B.")
def command(
    schedules: tuple[str, ...],
    program: str,
    method: Any,
    metric: str,
    goal: Any,
    seeds: int,
    params: tuple[str, ...],
    project: str | None,
    output: Path | None,
    start: bool,
) -> None:
    """Write a W&B sweep over schedules × seeds, as YAML.

    In the training program, `lrtrack.scheduler(opt, wandb.config)` builds what the agent hands out.
    """
    import yaml

    from lrtrack.stats import mode_of
    from lrtrack.sweeps import sweep

    config = sweep(
        schedules,
        program=program,
        method=method,
        metric=metric,
        goal=goal or ("maximize" if mode_of(metric) == "max" else "minimize"),
        seeds=seeds,
        params=dict(map(_pair, params)),
    )
    _options.deliver(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), output)
    if start:
        from lrtrack.trackers.wandb.starting import start_sweep

        click.echo(f"Run on each machine: wandb agent {start_sweep(config, project)}", err=True)
    else:
        click.echo(f"Next: wandb sweep {output or 'FILE'}", err=True)


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise click.UsageError(f"--param is written NAME=VALUE, not {text!r}.")
    return name.strip(), value
