"""`lrtrack sync`: deliver what is still only in journals."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lrtrack.cli import _adoption
from lrtrack.cli._progress import bar

if TYPE_CHECKING:
    from lrtrack.journal.layout import Layout


@click.command(short_help="Upload runs that are still only in local journals.")
@click.option(
    "--timeout",
    default=300.0,
    show_default=True,
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Leave the rest for later after that time.",
)
@click.option(
    "--adopt",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Accept the journals in DIR that you did not write, and upload them.",
)
def command(timeout: float, adopt: Path | None) -> None:
    """Deliver to their trackers the runs that are still only in journals.

    With the environment and the credentials of this command, which go to no server that they are
    not meant for. Runs that are going on are left to the shipper that serves them. Journals that
    somebody else wrote are left alone, unless `--adopt` accepts them: it shows where each would be
    sent, and on a terminal asks before it does so. Exit status 1 if something of a finished run
    could not be delivered.
    """
    from lrtrack import settings
    from lrtrack.errors import LRTrackError
    from lrtrack.journal.layout import Layout
    from lrtrack.shipping.undelivered import undelivered

    layout = _adoption.adopt(adopt) if adopt else Layout(settings.read().directory)
    _adoption.name_foreign(layout)
    try:
        before = undelivered(layout)
    except OSError as error:
        raise LRTrackError(f"Cannot read {layout.root}: {error.strerror or error}") from error
    over = {run.id for run in before if not run.alive}
    if len(over) < len(before):
        click.echo(f"Going on, and left to the shipper: {len(before) - len(over)}.", err=True)
    if not over:
        click.echo(f"Nothing to deliver in {layout.root}.")
        return
    deliver(layout, timeout, len(over))
    _report(layout, over)


def _report(layout: Layout, over: set[str]) -> None:
    """Say what became of the runs `over`; LRTrackError if something is left."""
    from lrtrack.errors import LRTrackError, clean, warn
    from lrtrack.shipping.corruption import damaged
    from lrtrack.shipping.missing_parts import missing_parts, summarized
    from lrtrack.shipping.undelivered import SHOWN, undelivered

    for run_id, what in damaged(layout).items():
        if run_id in over:
            warn(f"{layout.journal(run_id)} is {what}; what was there is left out.")
    if missing := missing_parts(layout, sorted(over)):
        warn(f"Delivered {summarized(missing)}. Steps and ends of runs are in the tracker.")
    left = [run for run in undelivered(layout, tried=True) if run.id in over]
    left.sort(key=lambda run: run.error is None)  # those first of which one knows why
    click.echo(f"Delivered {len(over) - len(left)} of {len(over)} runs.")
    for run in left[:SHOWN]:
        why = run.error or "not finished in time"
        click.echo("  " + clean(f"{run.name} ({run.id}): {why}"), err=True)
    if len(left) > SHOWN:
        click.echo(f"  and {len(left) - SHOWN:,} more", err=True)
    if left:
        raise LRTrackError("Something is left; it stays in the journals. Run `lrtrack sync` again.")


def deliver(layout: Layout, timeout: float, total: int) -> None:
    """Deliver from a thread, so that progress shows and Ctrl-C works."""
    from lrtrack.shipping.sync import finish
    from lrtrack.shipping.undelivered import undelivered

    trouble: list[OSError] = []

    def work() -> None:
        def quiet(line: str) -> None:
            pass

        try:
            finish(layout, timeout, quiet)
        except OSError as error:
            trouble.append(error)

    worker = threading.Thread(target=work, name="lrtrack-sync", daemon=True)
    worker.start()
    with bar("Delivering runs") as progress:
        pause = 0.2
        while worker.is_alive():
            worker.join(pause)
            if progress is not None:
                begun = time.monotonic()
                left = sum(not run.alive for run in undelivered(layout))
                progress(max(0, total - left), total)
                pause = max(0.2, 10 * (time.monotonic() - begun))  # a long queue takes seconds
    if trouble:
        raise click.ClickException(f"Cannot deliver from {layout.root}: {trouble[0]}")
