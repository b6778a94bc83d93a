"""`lrtrack compare`: compares the schedules of an experiment's runs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from lrtrack.cli import _options
from lrtrack.cli._output import FORMATS, show
from lrtrack.cli._progress import bar
from lrtrack.errors import clean
from lrtrack.trackers.base import REPORT, Remote

_AXES = ("step", "time", "epoch")


@click.command(short_help="Compare the schedules of an experiment's runs.")
@_options.experiments_option
@_options.source_options
@click.option(
    "--metric", default="loss", show_default=True, metavar="NAME", help="Metric to compare."
)
@click.option(
    "--mode", type=click.Choice(["min", "max"]), help="Default: chosen by the metric's name."
)
@click.option(
    "--target", type=float, metavar="VALUE", help="Report steps and time to reach this value."
)
@click.option(
    "--group-by",
    default="schedule",
    show_default=True,
    metavar="FIELD[,FIELD…]",
    help="schedule, name (the schedule's), or fields such as optimizer.lr or a config key.",
)
@click.option(
    "--baseline", metavar="SCHEDULE", help="Test against this schedule instead of the best."
)
@click.option(
    "--margin",
    type=float,
    metavar="VALUE",
    help="Call schedules equivalent within this difference.",
)
@click.option(
    "--include-unfinished",
    is_flag=True,
    help="Also count runs that failed or are still going.",
)
@click.option(
    "--tune", metavar="FIELD", help="Compare each schedule at its own best value of this field."
)
@click.option("--task", metavar="FIELD", help="Compare over tasks, relative to the best of each.")
@click.option(
    "--sequential",
    is_flag=True,
    help="Keep differences valid however often you look while adding seeds.",
)
@click.option(
    "--x",
    "axis",
    default="step",
    show_default=True,
    type=click.Choice(_AXES),
    help="The x axis of the curves: steps, seconds since the first step, or epochs.",
)
@click.option(
    "--publish",
    "publishing",
    is_flag=True,
    help='Also save the report in a run named "lrtrack report" of the experiment.',
)
@_options.output_options(FORMATS)
@_options.open_option
def command(
    names: tuple[str, ...],
    experiments: tuple[str, ...],
    trackers: tuple[str, ...],
    tracking_uri: str | None,
    filters: tuple[str, ...],
    filter_raw: tuple[str, ...],
    cache: bool,
    metric: str,
    mode: Literal["min", "max"] | None,
    target: float | None,
    group_by: str,
    baseline: str | None,
    margin: float | None,
    include_unfinished: bool,
    tune: str | None,
    task: str | None,
    sequential: bool,
    axis: str,
    publishing: bool,
    form: str | None,
    output: Path | None,
    opened: bool,
) -> None:
    """Read an experiment's runs and compare their schedules, best first."""
    chosen = _options.resolve_format(form, output, FORMATS, opened=opened)
    from lrtrack.comparing import compare, publish, publishers

    if publishing and len({*names, *experiments}) > 1:
        raise click.UsageError("--publish takes one experiment, because the report is kept there.")
    if publishing:
        publishers(trackers or None)  # fail before reading any run
    with bar("Reading runs") as progress:
        comparison = compare(
            (*names, *experiments) or None,
            tracker=trackers or None,
            tracking_uri=tracking_uri,
            metric=metric,
            mode=mode,
            target=target,
            group_by=group_by,
            filters=filters,
            filter_raw=filter_raw,
            cache=cache,
            baseline=baseline,
            margin=margin,
            include_unfinished=include_unfinished,
            tune=tune,
            sequential=sequential,
            task=task,
            progress=progress,
        )
    if opened and output is None:
        output = _options.temporary_report(chosen)
    show(comparison, chosen, output, axis)
    if opened and output is not None:
        _options.open_in_browser(output)
    if publishing:
        publish(comparison, trackers or None, tracking_uri, axis, _report_location)


def _report_location(tracker: str, remote: Remote) -> None:
    location = remote.url or f"run {remote.id}, named {REPORT!r}"
    click.echo(clean(f"Published to {tracker}: {location}"), err=True)
