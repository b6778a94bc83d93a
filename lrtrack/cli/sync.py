"""`lrtrack sync`: deliver what is still only in journals."""

from __future__ import annotations

import threading
import time

import click

from lrtrack.cli._progress import bar


@click.command(short_help="Deliver what is still only in journals.")
@click.option(
    "--timeout",
    default=300.0,
    show_default=True,
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Leave the rest for later after that time.",
)
def command(timeout: float) -> None:
    """Deliver to their trackers the runs that are still only in journals.

    Runs that are going on are left to the shipper that serves them. Exit status 1 if something
    of a finished run could not be delivered.
    """
    from lrtrack import settings
    from lrtrack.errors import LRTrackError
    from lrtrack.journal.layout import Layout
    from lrtrack.shipping.pending import pending

    settings.claim_process()
    layout = Layout(settings.read().directory)
    before = pending(layout)
    if not before:
        click.echo(f"Nothing to deliver in {layout.root}.")
        return
    _deliver(layout, timeout, len(before))
    left = [run for run in pending(layout) if not run.alive]
    click.echo(f"Delivered {len(before) - len(left)} of {len(before)} runs.")
    for run in left:
        click.echo(f"  {run.name} ({run.id}): {run.error or 'not finished in time'}", err=True)
    if left:
        raise LRTrackError("Something is left; it stays in the journals. Run `lrtrack sync` again.")


def _deliver(layout: object, timeout: float, total: int) -> None:
    """Deliver from a thread, so that progress shows and Ctrl-C works."""
    from lrtrack.journal.layout import Layout
    from lrtrack.shipping.pending import pending
    from lrtrack.shipping.start import drain

    assert isinstance(layout, Layout)
    deadline = time.monotonic() + timeout
    trouble: list[OSError] = []

    def work() -> None:
        try:
            # Where a shipper is at work already, it is only watched.
            while not drain(layout, timeout, lambda line: click.echo(line, err=True)):
                if time.monotonic() > deadline or not layout.queued():
                    return
                time.sleep(0.2)
        except OSError as error:
            trouble.append(error)

    worker = threading.Thread(target=work, name="lrtrack-sync", daemon=True)
    worker.start()
    with bar("Delivering runs") as progress:
        while worker.is_alive():
            worker.join(0.2)
            if progress is not None:
                progress(total - len(pending(layout)), total)
    if trouble:
        raise click.ClickException(f"Cannot deliver from {layout.root}: {trouble[0]}")
