"""`lrtrack doctor`: what lrtrack sees here."""

from __future__ import annotations

import click


@click.command(short_help="Show trackers, devices, journals, and what is undelivered.")
def command() -> None:
    """Show what lrtrack sees here: versions, trackers, devices, journals, what is undelivered.

    Exit status 1 if a finished run is not delivered.
    """
    from lrtrack import settings

    found = settings.read()
    _versions()
    _trackers(found.tracker, found.experiment)
    _devices()
    left = _journals(found.directory)
    if left:
        click.echo("\nDeliver what is left with: lrtrack sync")
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
    from lrtrack.settings import redact
    from lrtrack.trackers import registry

    click.echo("\nTrackers")
    _row("installed", ", ".join(registry.names()))
    _row("configured", configured or "nothing, so mlflow")
    _row("experiment", experiment or "nothing, so the tracker's own, else lrtrack")
    for name in registry.names():
        try:
            _row(name, redact(registry.get(name).status()))
        except Exception as error:  # one broken tracker must not hide the others
            said = redact(str(error)).strip().partition("\n")[0]
            _row(name, f"not usable: {said or type(error).__name__}")


def _devices() -> None:
    from lrtrack.capture.optimizers import devices

    click.echo("\nDevices")
    for kind, name in devices():
        _row(kind, name)


def _journals(directory: object) -> int:
    from pathlib import Path

    from lrtrack.cli._adoption import advice
    from lrtrack.journal.layout import Layout
    from lrtrack.shipping.corruption import damaged
    from lrtrack.shipping.foreign import foreign
    from lrtrack.shipping.lock import held
    from lrtrack.shipping.missing_parts import missing_parts, summarized
    from lrtrack.shipping.undelivered import SHOWN, undelivered

    layout = Layout(Path(str(directory)))
    click.echo("\nJournals")
    _row("directory", layout.root if layout.root.is_dir() else f"{layout.root} (not there yet)")
    if not layout.root.is_dir():
        return 0
    _row("runs", sum(1 for _ in layout.journals()))
    at_work = sum(map(held, layout.shipper_locks()))
    several = f", {at_work} of them for different credentials" if at_work > 1 else ""
    idle = "not running (it starts when needed)"
    _row("shipper", f"at work{several}" if at_work else idle)
    others = list(foreign(layout))
    if others:
        _row("not yours", advice(layout, others))
    broken = damaged(layout)
    if broken:
        _row("damaged", f"{len(broken)}; what was there is left out, the rest is delivered")
        for run_id, what in broken.items():
            _row("", f"{layout.journal(run_id)} is {what}")
    if missing := missing_parts(layout):
        _row("incomplete", summarized(missing))
    waiting = undelivered(layout)
    _row("undelivered", len(waiting) or "nothing")
    for run in waiting[:SHOWN]:
        state = "running" if run.alive else run.error or "waits for a shipper"
        _row("", f"{run.name} to {', '.join(run.trackers) or '?'}: {run.left:,} bytes; {state}")
    if len(waiting) > SHOWN:
        _row("", f"and {len(waiting) - SHOWN:,} more")
    return sum(1 for run in waiting if not run.alive)
