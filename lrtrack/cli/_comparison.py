"""The options of `lrtrack compare` that say what is compared, and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from lrtrack.cli._options import add_all

F = TypeVar("F", bound=Callable[..., Any])


def _target(
    ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]
) -> float | dict[str, float] | None:
    """One number for all tasks, or one by task; None without any."""
    targets: dict[str, float] = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        if name in targets:
            what = f"the task {name!r}" if name else "all tasks"
            raise click.BadParameter(f"There are two targets for {what}.")
        try:
            targets[name] = float(value)
        except ValueError:
            raise click.BadParameter(
                f"{text!r} is neither a number nor a task and its number, such as mnist=0.3."
            ) from None
    if "" not in targets:
        return targets or None
    if len(targets) > 1:
        raise click.BadParameter(
            "Some targets name a task and one does not. Fix: give one number for all tasks, or one "
            "for each as TASK=VALUE."
        )
    return targets[""]


#: Each is the argument of `lrtrack.compare()` of the same name.
_OPTIONS = (
    click.option(
        "--metric", metavar="NAME", help="Metric to compare. Default: loss, else the usual loss."
    ),
    click.option(
        "--mode", type=click.Choice(["min", "max"]), help="Default: chosen by the metric's name."
    ),
    click.option(
        "--target",
        "target",
        multiple=True,
        metavar="[TASK=]VALUE",
        callback=_target,
        help="Report steps and time to reach this value. Repeatable, one for each task.",
    ),
    click.option(
        "--x",
        default="step",
        show_default=True,
        metavar="step|time|epoch|METRIC",
        help="X axis of the curves and of the target: a metric such as logged tokens.",
    ),
    click.option(
        "--group-by",
        default="schedule",
        show_default=True,
        metavar="FIELD[,FIELD…]",
        help="schedule, name (the schedule's), or fields such as optimizer.lr or a config key.",
    ),
    click.option(
        "--baseline", metavar="SCHEDULE", help="Test against this schedule instead of the best."
    ),
    click.option(
        "--margin",
        type=float,
        metavar="VALUE",
        help="Call schedules equivalent within this difference.",
    ),
    click.option(
        "--include-unfinished", is_flag=True, help="Also count runs that failed or are still going."
    ),
    click.option(
        "--tune", metavar="FIELD", help="Compare each schedule at its own best value of this field."
    ),
    click.option(
        "--task", metavar="FIELD", help="Compare over tasks, relative to the best of each."
    ),
    click.option(
        "--sequential",
        is_flag=True,
        help="Keep differences valid however often you look while adding seeds.",
    ),
)


def comparison_options(function: F) -> F:
    """Add `--metric` to `--sequential`; the command passes them on to `lrtrack.compare()`."""
    return add_all(_OPTIONS, function)
