"""`lrtrack sync`: uploads runs that are still only in local journals."""

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
    help="Stop after this time; the rest is kept for later.",
)
@click.option(
    "--adopt",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Accept and upload the journals in DIR that you did not write.",
)
def command(timeout: float, adopt: Path | None) -> None:
    """Upload runs that are still only in local journals.

    Uses the environment and credentials of this command, and sends credentials only to the server
    that they belong to. Skips runs that are still training: the background process uploads them.
    Skips journals that somebody else wrote, unless you accept them with `--adopt`, which lists
    where each would be sent and, on a terminal, asks first. The exit status is 1 if part of a
    finished run could not be uploaded.
    """
    from lrtrack import settings
    from lrtrack.errors import LRTrackError
    from lrtrack.journal.layout import Layout
    from lrtrack.journal.obstacles import obstacle
    from lrtrack.shipping.undelivered import undelivered

    layout = _adoption.adopt(adopt) if adopt else Layout(settings.read().directory)
    if trouble := layout.trouble():
        raise LRTrackError(f"Cannot read {layout.root}: {trouble}.")
    _adoption.report_foreign(layout)
    try:
        _take_off(layout)
        before = undelivered(layout)
    except OSError as error:
        raise LRTrackError(f"Cannot read {layout.root}: {obstacle(layout.root, error)}.") from error
    finished = {run.id for run in before if not run.alive}
    if len(finished) < len(before):
        click.echo(f"Skipped, still training: {len(before) - len(finished)}.", err=True)
    if not finished:
        click.echo(f"Nothing to deliver in {layout.root}.")
        return
    deliver(layout, timeout, len(finished))
    _report(layout, finished)


def _take_off(layout: Layout) -> None:
    """Remove runs from the queue of which nothing was recorded."""
    from lrtrack.shipping.unreadable import take_off, without_record

    if empty := without_record(layout):
        take_off(layout, empty)
        runs = "1 run" if len(empty) == 1 else f"{len(empty):,} runs"
        click.echo(f"Taken off the queue: {runs} without any record.", err=True)


def _report(layout: Layout, finished: set[str]) -> None:
    """Report which of the `finished` runs were delivered.

    Raises:
        LRTrackError: a run was not delivered completely.
    """
    from lrtrack.errors import LRTrackError, clean, warn
    from lrtrack.shipping.corruption import damaged
    from lrtrack.shipping.missing_parts import missing_parts, summarized
    from lrtrack.shipping.undelivered import SHOWN, undelivered

    for run_id, damage in damaged(layout).items():
        if run_id in finished:
            warn(f"{layout.journal(run_id)} is {damage}; damaged records are skipped.")
    if missing := missing_parts(layout, sorted(finished)):
        warn(f"Delivered {summarized(missing)}. The tracker has every step and the final state.")
    remaining = [run for run in undelivered(layout, tried=True) if run.id in finished]
    remaining.sort(key=lambda run: run.error is None)  # runs with a known reason first
    click.echo(f"Delivered {len(finished) - len(remaining)} of {len(finished)} runs.")
    for run in remaining[:SHOWN]:
        reason = run.error or "not finished in time"
        reason += f". Fix: {run.fix}" if run.fix else ""
        click.echo("  " + clean(f"{run.name} ({run.id}): {reason}"), err=True)
    if len(remaining) > SHOWN:
        click.echo(f"  and {len(remaining) - SHOWN:,} more", err=True)
    if remaining:
        told = all(run.fix or "Fix:" in (run.error or "") for run in remaining)
        raise LRTrackError(
            "Not everything was delivered; the rest stays in the journals. Fix: "
            f"{'do as said above, then ' if told else ''}run `lrtrack sync` again."
        )


def deliver(layout: Layout, timeout: float, total: int) -> None:
    """Deliver in a thread, so that the progress bar updates and Ctrl-C works."""
    from lrtrack.shipping.sync import finish
    from lrtrack.shipping.undelivered import undelivered

    errors: list[OSError] = []

    def work() -> None:
        def discard(line: str) -> None:
            pass

        try:
            finish(layout, timeout, discard)
        except OSError as error:
            errors.append(error)

    worker = threading.Thread(target=work, name="lrtrack-sync", daemon=True)
    worker.start()
    with bar("Delivering runs") as progress:
        pause = 0.2
        while worker.is_alive():
            worker.join(pause)
            if progress is not None:
                start = time.monotonic()
                remaining = sum(not run.alive for run in undelivered(layout))
                progress(max(0, total - remaining), total)
                # Counting a long queue takes seconds, so that it is done less often.
                pause = max(0.2, 10 * (time.monotonic() - start))
    if errors:
        raise click.ClickException(f"Cannot deliver from {layout.root}: {errors[0]}")
