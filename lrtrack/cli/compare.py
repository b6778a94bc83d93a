"""`lrtrack compare`: an experiment's schedules side by side."""

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
@_options.sources
@click.option("--metric", default="loss", show_default=True, metavar="NAME")
@click.option(
    "--mode", type=click.Choice(["min", "max"]), help="Default: decided by the metric's name."
)
@click.option("--target", type=float, metavar="VALUE", help="Tell when runs reach this value.")
@click.option(
    "--group-by",
    default="schedule",
    show_default=True,
    metavar="FIELD[,FIELD…]",
    help="schedule, name (of the schedule), or fields such as optimizer.lr or a config key.",
)
@click.option(
    "--baseline", metavar="SCHEDULE", help="Test against this schedule instead of the best."
)
@click.option(
    "--x",
    "axis",
    default="step",
    show_default=True,
    type=click.Choice(_AXES),
    help="The x axis of curves: steps, seconds since the first step, or epochs.",
)
@click.option(
    "--publish",
    "publishing",
    is_flag=True,
    help='Put the report into a run "lrtrack report" of the experiment, too.',
)
@_options.output(FORMATS)
@_options.opened
def command(
    experiment: str | None,
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
    axis: str,
    publishing: bool,
    form: str | None,
    output: Path | None,
    opened: bool,
) -> None:
    """Read an experiment's runs back and compare their schedules, best first."""
    chosen = _options.asked(form, output, FORMATS, opened=opened)
    from lrtrack.comparing import compare, publish, publishers

    if publishing:
        publishers(trackers or None)  # what cannot be published is said before anything is read
    with bar("Reading runs") as progress:
        comparison = compare(
            experiment,
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
            progress=progress,
        )
    if opened and output is None:
        output = _options.temporary(chosen)
    show(comparison, chosen, output, axis)
    if opened and output is not None:
        _options.open_in_browser(output)
    if publishing:
        publish(comparison, trackers or None, tracking_uri, axis, _say_where)


def _say_where(tracker: str, remote: Remote) -> None:
    where = remote.url or f"run {remote.id}, which {tracker} calls {REPORT!r}"
    click.echo(clean(f"Published to {tracker}: {where}"), err=True)
