"""`lrtrack runs`: lists an experiment's runs, one per row."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lrtrack.cli import _options
from lrtrack.cli._others import others_options
from lrtrack.cli._progress import bar

_FORMATS = ("table", "csv", "json")


@click.command(short_help="List an experiment's runs.")
@_options.experiment_option
@_options.source_options
@others_options
@click.option(
    "--metric",
    default="loss",
    show_default=True,
    metavar="NAME",
    help="Metric whose final value is shown.",
)
@_options.output_options(_FORMATS)
def command(
    experiment: str | None,
    trackers: tuple[str, ...],
    tracking_uri: str | None,
    filters: tuple[str, ...],
    filter_raw: tuple[str, ...],
    cache: bool,
    runs: str | None,
    lr_metric: str | None,
    seed_field: str | None,
    metric: str,
    form: str | None,
    output: Path | None,
) -> None:
    """List an experiment's runs, newest first."""
    chosen = _options.format_of(form, output, _FORMATS)
    from lrtrack import settings
    from lrtrack.comparing import fetch
    from lrtrack.errors import NothingFound
    from lrtrack.reports import csvtext, jsontext, terminal
    from lrtrack.reports.runs import rows_of, runs_report

    experiment = experiment or settings.read().experiment
    with bar("Reading runs") as progress:
        histories = fetch(
            experiment,
            tracker=trackers or None,
            tracking_uri=tracking_uri,
            filters=filters,
            filter_raw=filter_raw,
            cache=cache,
            metric=metric,
            progress=progress,
            runs=runs,
            lr_metric=lr_metric,
            seed_field=seed_field,
        )
    if not histories:
        raise NothingFound("There are no runs to list.")
    if chosen == "json":
        rows = rows_of(histories, metric)
        _options.write_output(jsontext.render_runs(rows, experiment, metric), output)
    elif chosen == "csv":
        _options.write_output(csvtext.render_runs(rows_of(histories, metric)), output)
    elif output is not None:
        _options.write_output(terminal.text(runs_report(histories, experiment, metric)), output)
    else:
        terminal.write(runs_report(histories, experiment, metric), sys.stdout)
