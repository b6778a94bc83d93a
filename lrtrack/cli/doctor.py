"""`lrtrack doctor`: shows versions, trackers, devices, journals and undelivered runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pathlib import Path


@click.command(short_help="Show trackers, devices, journals and undelivered runs.")
def command() -> None:
    """Show the versions, trackers, devices and journals in use, and undelivered runs.

    The exit status is 1 if a finished run has not been uploaded.
    """
    from lrtrack import settings

    configuration = settings.read()
    _versions()
    _trackers(configuration.tracker, configuration.experiment)
    _devices()
    if _journals(configuration.directory):
        click.echo("\nFix: upload the undelivered runs with lrtrack sync")
        raise click.exceptions.Exit(1)


def _row(name: str, text: object) -> None:
    from lrtrack.errors import clean

    click.echo(f"  {clean(name):<14} {clean(str(text))}")


def _versions() -> None:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    click.echo("Versions")
    _row("python", platform.python_version())
    for package in ("lrtrack", "torch", "mlflow", "wandb"):
        try:
            _row(package, version(package))
        except PackageNotFoundError:
            _row(package, "not installed")


def _trackers(configured: str | None, experiment: str | None) -> None:
    from lrtrack.redaction import redact
    from lrtrack.trackers import registry

    click.echo("\nTrackers")
    _row("installed", ", ".join(registry.names()))
    _row("configured", configured or "not set; mlflow is used")
    _row("experiment", experiment or "not set; the tracker's default is used, else lrtrack")
    for name in registry.names():
        try:
            _row(name, redact(registry.get(name).status()))
        except Exception as error:  # one broken tracker must not hide the others
            reason = redact(str(error)).strip().partition("\n")[0]
            _row(name, f"not usable: {reason or type(error).__name__}")


def _devices() -> None:
    from lrtrack.capture.optimizers import devices

    click.echo("\nDevices")
    for kind, name in devices():
        _row(kind, name)


def _journals(directory: Path) -> int:
    """Print what is in the journals; return the number of finished runs not uploaded."""
    from lrtrack.cli._adoption import advice
    from lrtrack.journal.layout import Layout
    from lrtrack.number_text import file_size
    from lrtrack.shipping.corruption import damaged
    from lrtrack.shipping.foreign import foreign
    from lrtrack.shipping.lock import held
    from lrtrack.shipping.missing_parts import missing_parts, summarized
    from lrtrack.shipping.undelivered import SHOWN, undelivered

    layout = Layout(directory)
    click.echo("\nJournals")
    state = "" if layout.root.is_dir() else f" ({layout.trouble() or 'not created yet'})"
    _row("directory", f"{layout.root}{state}")
    if not layout.root.is_dir():
        return 0
    _row("runs", sum(1 for _ in layout.journals()))
    working = sum(map(held, layout.shipper_locks()))
    several = f" ({working} processes, for different credentials)" if working > 1 else ""
    idle = "not running (starts when needed)"
    _row("shipper", f"running{several}" if working else idle)
    foreign_journals = list(foreign(layout))
    if foreign_journals:
        _row("not yours", advice(layout, foreign_journals))
    broken = damaged(layout)
    if broken:
        _row("damaged", f"{len(broken)}; damaged records are skipped, the rest is delivered")
        for run_id, damage in broken.items():
            _row("", f"{layout.journal(run_id)} is {damage}")
    if missing := missing_parts(layout):
        _row("incomplete", summarized(missing))
    waiting = undelivered(layout)
    _row("undelivered", len(waiting) or "nothing")
    for run in waiting[:SHOWN]:
        place = f" on {run.host}" if run.host else ""
        state = f"running{place}" if run.alive else run.error or f"waiting for a shipper{place}"
        _row("", f"{run.name} to {', '.join(run.trackers) or '?'}: {file_size(run.left)}; {state}")
        if run.fix:
            _row("", f"Fix: {run.fix}")
    if len(waiting) > SHOWN:
        _row("", f"and {len(waiting) - SHOWN:,} more")
    return sum(1 for run in waiting if not run.alive)
