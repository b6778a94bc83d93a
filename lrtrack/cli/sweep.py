"""`lrtrack sweep`: write, and if asked to start, a W&B sweep over schedules; or run one by Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lrtrack.cli import _options, _sweep_engines


@click.command(short_help="Sweep over schedules, with W&B or Ray.")
@click.option(
    "--schedule",
    "schedules",
    multiple=True,
    required=True,
    metavar="SPEC",
    help='As "onecycle(max_lr=0.01..0.3 log, total_steps=1000)". Repeatable.',
)
@click.option("--program", required=True, metavar="FILE", help="What runs; Ray: FILE[:FUNCTION].")
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
@click.option("--project", metavar="[ENTITY/]PROJECT", help="Where the runs go.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write there instead of to the terminal.",
)
@click.option("--start", is_flag=True, help="Register the sweep with W&B.")
@_sweep_engines.options
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
    engine: str,
    **of_ray: Any,
) -> None:
    """Write a W&B sweep over schedules × seeds, as YAML; or run one with Ray Tune.

    In it, `lrtrack.scheduler(opt, wandb.config)`, for Ray its `config`, builds the schedule.
    """
    import yaml

    from lrtrack.stats import mode_of
    from lrtrack.sweeps import sweep

    _sweep_engines.check(engine, method)
    goal = goal or ("maximize" if mode_of(metric) == "max" else "minimize")
    asked = {
        "method": method,
        "metric": metric,
        "seeds": seeds,
        "params": dict(map(_sweep_engines.pair, params)),
    }
    if engine == "ray":
        asked |= {"mode": goal[:3], **of_ray}
        _sweep_engines.through_ray(schedules, program, asked, project)
        return
    config = sweep(schedules, program=program, goal=goal, **asked)
    _options.deliver(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), output)
    if start:
        from lrtrack.trackers.wandb.sweeps import start_sweep

        click.echo(f"Run on each machine: wandb agent {start_sweep(config, project)}", err=True)
    else:
        click.echo(f"Next: wandb sweep {output or 'FILE'}", err=True)
