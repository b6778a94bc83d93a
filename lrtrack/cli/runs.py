"""`lrtrack runs`: lists the runs of experiments, one per row."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from lrtrack.cli import _options
from lrtrack.cli._others import others_options
from lrtrack.cli._progress import bar

_FORMATS = ("table", "csv", "json")


@click.command(short_help="List an experiment's runs.")
@_options.experiments_option
@_options.source_options
@others_options
@click.option(
    "--metric",
    metavar="NAME",
    help="Metric whose final value is shown. Default: loss, else the usual loss.",
)
@_options.sort_option("seed")
@_options.output_options(_FORMATS)
def command(
    names: tuple[str, ...],
    experiments: tuple[str, ...],
    trackers: tuple[str, ...],
    metric: str | None,
    sort: str | None,
    form: str | None,
    output: Path | None,
    **options: Any,
) -> None:
    """List the runs of one or several experiments, newest first."""
    chosen = _options.format_of(form, output, _FORMATS)
    from lrtrack import settings
    from lrtrack.comparing import default_metric, fetch_each
    from lrtrack.errors import NothingFound
    from lrtrack.reports import csvtext, jsontext, terminal
    from lrtrack.reports.order import runs_by_field
    from lrtrack.reports.runs import rows_of, runs_report

    named = [*dict.fromkeys((*names, *experiments))]
    wanted: list[str | None] = [*named] or [settings.read().experiment]
    with bar("Reading runs") as progress:
        histories = fetch_each(
            wanted,
            tracker=trackers or None,
            metric=metric or default_metric.LOSS,
            progress=progress,
            **options,
        )
    if not histories:
        raise NothingFound("There are no runs to list.")
    if metric is None:
        choice = default_metric.choose(histories)
        metric = choice.metric
        default_metric.announce(choice)
    if sort:
        histories = runs_by_field(histories, sort, metric)
    experiment = ", ".join(filter(None, wanted)) or None
    if chosen == "json":
        rows = rows_of(histories, metric)
        _options.write_output(jsontext.render_runs(rows, experiment, metric), output)
    elif chosen == "csv":
        _options.write_output(csvtext.render_runs(rows_of(histories, metric)), output)
    elif output is not None:
        _options.write_output(terminal.text(runs_report(histories, experiment, metric)), output)
    else:
        terminal.write(runs_report(histories, experiment, metric), sys.stdout)
