"""`lrtrack compare`: compares the schedules of an experiment's runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lrtrack.cli import _options
from lrtrack.cli._comparison import comparison_options
from lrtrack.cli._others import others_options
from lrtrack.cli._output import FORMATS, show
from lrtrack.cli._progress import bar
from lrtrack.errors import clean
from lrtrack.reports.formats import check_picture
from lrtrack.trackers.base import REPORT, Remote


@click.command(short_help="Compare the schedules of an experiment's runs.")
@_options.experiments_option
@_options.source_options
@others_options
@comparison_options
@click.option(
    "--publish",
    "publishing",
    is_flag=True,
    help='Also save the report in a run named "lrtrack report" of the experiment.',
)
@_options.sort_option("lr_peak")
@_options.output_options(FORMATS)
@click.option(
    "--panel",
    metavar="NAME",
    help="Draw one panel of a picture: loss, lr, final, differences, or another that it has.",
)
@click.option(
    "--figure-size",
    metavar="single|double|WxH",
    help="Width of a picture, as one or two columns of a paper, or its size in inches.",
)
@_options.open_option
def command(
    names: tuple[str, ...],
    experiments: tuple[str, ...],
    trackers: tuple[str, ...],
    tracking_uri: str | None,
    publishing: bool,
    sort: str | None,
    form: str | None,
    output: Path | None,
    panel: str | None,
    figure_size: str | None,
    opened: bool,
    **options: Any,
) -> None:
    """Read an experiment's runs and compare their schedules, best first."""
    chosen = _options.resolve_format(form, output, FORMATS, opened=opened)
    check_picture(chosen, panel, figure_size)
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
            progress=progress,
            **options,
        )
    if sort:
        from lrtrack.reports.order import by_field

        comparison = by_field(comparison, sort)
    if opened and output is None:
        output = _options.temporary_report(chosen)
    show(comparison, chosen, output, panel=panel, figure_size=figure_size)
    if opened and output is not None:
        _options.open_in_browser(output)
    if publishing:
        publish(comparison, trackers or None, tracking_uri, None, _report_location)


def _report_location(tracker: str, remote: Remote) -> None:
    location = remote.url or f"run {remote.id}, named {REPORT!r}"
    click.echo(clean(f"Published to {tracker}: {location}"), err=True)
