"""`lrtrack sweep`: writes a W&B sweep over schedules, or runs one with Ray Tune."""

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
    help='Such as "onecycle(max_lr=0.01..0.3 log, total_steps=1000)". Repeatable.',
)
@click.option(
    "--program", required=True, metavar="FILE", help="Training script (Ray: FILE[:FUNCTION])."
)
@click.option(
    "--method",
    type=click.Choice(["grid", "random", "bayes"]),
    default="grid",
    show_default=True,
)
@click.option("--metric", default="loss_final", show_default=True, metavar="NAME")
@click.option(
    "--goal",
    type=click.Choice(["minimize", "maximize"]),
    help="Default: chosen by the metric's name.",
)
@click.option(
    "--seeds",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="Runs per configuration.",
)
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Another parameter: a value, a range or choices such as lr={0.1, 0.3}. Repeatable.",
)
@click.option(
    "--project", metavar="[ENTITY/]PROJECT", help="W&B project (Ray: experiment) to record in."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to FILE instead of stdout.",
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
    **ray_options: Any,
) -> None:
    """Write a W&B sweep over schedules × seeds, as YAML; or run one with Ray Tune.

    The training script builds its schedule with `lrtrack.scheduler(opt, wandb.config)`; with Ray,
    pass the trial's `config` instead.
    """
    import yaml

    from lrtrack.stats import mode_of
    from lrtrack.sweeps import sweep

    _sweep_engines.check(engine, method)
    goal = goal or ("maximize" if mode_of(metric) == "max" else "minimize")
    options = {
        "method": method,
        "metric": metric,
        "seeds": seeds,
        "params": dict(map(_sweep_engines.parse_param, params)),
    }
    if engine == "ray":
        options |= {"mode": goal[:3], **ray_options}
        _sweep_engines.run_with_ray(schedules, program, options, project)
        return
    config = sweep(schedules, program=program, goal=goal, **options)
    _options.write_output(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), output)
    if start:
        from lrtrack.trackers.wandb.sweeps import start_sweep

        click.echo(f"Run on each machine: wandb agent {start_sweep(config, project)}", err=True)
    else:
        click.echo(f"Next: wandb sweep {output or 'FILE'}", err=True)
