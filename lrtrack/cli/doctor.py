"""`lrtrack doctor`: shows versions, trackers, devices, journals and undelivered runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pathlib import Path


@click.command(short_help="Show trackers, devices, journals and undelivered runs.")
@click.option(
    "--imports",
    is_flag=True,
    help="Import torch, MLflow and W&B, too, to find damaged installations.",
)
def command(imports: bool) -> None:
    """Show the versions, trackers, devices and journals in use, and undelivered runs.

    The exit status is 1 if a finished run has not been uploaded, or if a package that is installed
    cannot be imported. Packages are imported only where there is no other way to know, such as
    torch where there is a GPU, or with `--imports`.
    """
    from lrtrack import settings

    configuration = settings.read()
    works = _versions(imports=imports)
    _trackers(configuration.tracker, configuration.experiment)
    works = _devices() and works
    if _journals(configuration.directory):
        click.echo("\nFix: upload the undelivered runs with lrtrack sync")
        works = False
    if not works:
        raise click.exceptions.Exit(1)


def _row(name: str, text: object) -> None:
    from lrtrack.errors import clean

    click.echo(f"  {clean(name):<14} {clean(str(text))}")


def _versions(*, imports: bool) -> bool:
    """Print the releases in use; return whether every package that was imported could be."""
    import platform

    from lrtrack.cli._packages import PACKAGES, import_errors, installed
    from lrtrack.redaction import redact

    errors = import_errors() if imports else {}
    click.echo("Versions")
    _row("python", platform.python_version())
    _row("lrtrack", installed("lrtrack"))
    for package in PACKAGES:
        error = errors.get(package)
        result = "" if error is None else f", {redact(error) or 'can be imported'}"
        _row(package, installed(package) + result)
    return not any(errors.values())


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


def _devices() -> bool:
    """Print what torch can use; return whether that is known."""
    from lrtrack.capture.devices import devices
    from lrtrack.redaction import redact

    click.echo("\nDevices")
    try:
        found = devices()
    except Exception as error:  # what a damaged installation raises
        reason = redact(str(error)).strip().partition("\n")[0]
        _row("unknown", reason or type(error).__name__)
        return False
    for kind, name in found:
        _row(kind, name)
    return True


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
