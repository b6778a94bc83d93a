"""`lrtrack demo`: trains on real data under several schedules and compares them."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from lrtrack.cli import _options
from lrtrack.cli._output import FORMATS, show
from lrtrack.cli._progress import bar

_METRIC = "val_accuracy"
#: Maximum seconds to wait for the delivery of all runs.
_PATIENCE = 120.0


@click.command(short_help="Train on handwritten digits under six schedules and compare them.")
@click.option(
    "--experiment",
    default="lrtrack-demo",
    show_default=True,
    metavar="NAME",
    help="Experiment to record in.",
)
@click.option(
    "--tracker",
    shell_complete=_options.tracker_names,
    metavar="NAME",
    help="Tracker to record in: mlflow, local, or a comma-separated list. Default: as in track().",
)
@click.option(
    "--seeds",
    default=6,
    show_default=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="Runs per schedule.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write the comparison to FILE; its suffix selects the format.",
)
@_options.open_option
def command(
    experiment: str, tracker: str | None, seeds: int, output: Path | None, opened: bool
) -> None:
    """Train a small network on scikit-learn's handwritten digits and compare the schedules.

    Running it again adds more seeds to the same experiment.
    """
    from lrtrack import settings
    from lrtrack.comparing import compare
    from lrtrack.trackers import registry

    form = _options.resolve_format(None, output, FORMATS, opened=opened)
    settings.claim_process()
    directory = settings.read().directory
    names = [resolved.name for resolved in registry.resolve(tracker or None)]
    _train(experiment, tracker, seeds)
    _deliver(directory)
    with bar("Reading runs") as progress:
        comparison = compare(
            experiment, tracker=tracker, metric=_METRIC, mode="max", progress=progress
        )
    show(comparison)
    if opened or output is not None:
        path = output or _options.temporary_report(form)
        show(comparison, form, path)
        if opened:
            _options.open_in_browser(path)
    _print_next_commands(experiment, tracker, names)


def _train(experiment: str, tracker: str | None, seeds: int) -> None:
    click.echo("Training a small network on handwritten digits …", err=True)
    from lrtrack.demo import configurations, find_rate, run_demo, unused_seed

    first, names = unused_seed(experiment, tracker), configurations()
    finder_result = find_rate(experiment, tracker, first)
    if finder_result.suggestion is not None:
        click.echo(f"The learning-rate finder suggests {finder_result.suggestion:.2g}.", err=True)
    with bar(f"{len(names)} schedules × {seeds} seeds") as progress:

        def on_progress(done: int, total: int, label: str) -> None:
            if progress is not None:
                progress(done, total)

        run_demo(experiment, tracker, on_progress, seeds=range(first, first + seeds))


def _deliver(directory: Path) -> None:
    """Wait until every run is uploaded; report the runs that are still only in the journals."""
    from lrtrack.cli.sync import deliver
    from lrtrack.journal.layout import Layout
    from lrtrack.shipping.undelivered import undelivered

    layout = Layout(directory)
    if waiting := len(undelivered(layout)):
        deliver(layout, _PATIENCE, waiting)
    if remaining := sum(1 for run in undelivered(layout) if not run.alive):
        click.echo(f"Runs not uploaded yet: {remaining}. Fix: run lrtrack sync", err=True)


def _print_next_commands(experiment: str, tracker: str | None, names: list[str]) -> None:
    where = f"--experiment {shlex.quote(experiment)}"
    where += "".join(f" --tracker {name}" for name in names if tracker)
    compare = f"lrtrack compare {where} --metric {_METRIC}"
    commands = [compare, f"{compare} --open", f"lrtrack runs {where}"]
    commands += [_mlflow_ui()] if "mlflow" in names else []
    click.echo("\n".join(["\nTry next:", *(f"  {line}" for line in commands)]), err=True)
    if "mlflow" in names:
        click.echo(
            'In MLflow 3, choose "Model training" (top left), then one of the "Views" (top right).',
            err=True,
        )


def _mlflow_ui() -> str:
    from lrtrack.redaction import bare_uri

    # without a configured address, MLflow uses the database in the working directory
    default = "sqlite:///mlflow.db" if Path("mlflow.db").is_file() else ""
    uri = bare_uri(os.environ.get("MLFLOW_TRACKING_URI", "")) or default
    if uri.startswith(("http://", "https://")):
        return f"open {shlex.quote(uri)}"
    return f"mlflow ui --backend-store-uri {shlex.quote(uri)}" if uri else "mlflow ui"
