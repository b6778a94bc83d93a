"""Accepts journals that another user wrote, after showing where they would be uploaded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lrtrack.journal.layout import Layout
    from lrtrack.shipping.foreign import Foreign

#: At most this many journals are listed one by one.
_SHOWN = 20


def adopt(directory: Path) -> Layout:
    """Accept the journals in `directory` that another user wrote; on a terminal, ask first.

    Returns:
        The journal directory.

    Raises:
        UsageError: `directory` is not a journal directory.
        click.Abort: the user declined.
    """
    from lrtrack.shipping import foreign

    layout = foreign.layout_of(directory)
    journals = list(foreign.foreign(layout))
    if not journals:
        click.echo(f"Nothing to accept: you wrote every journal in {layout.root}.", err=True)
        return layout
    _show(layout, journals)
    if sys.stdin.isatty():
        click.confirm(f"Accept and upload {_count(journals)}?", err=True, abort=True)
    foreign.adopt(layout, journals)
    click.echo(f"Accepted {_count(journals)}.", err=True)
    return layout


def report_foreign(layout: Layout) -> None:
    """List on stderr the journals that are skipped because another user wrote them."""
    from lrtrack.shipping.foreign import foreign

    journals = list(foreign(layout))
    if journals:
        click.echo(f"Skipped: {advice(layout, journals)}", err=True)


def advice(layout: Layout, journals: list[Foreign]) -> str:
    """Describes the foreign `journals` and the command that accepts them."""
    import shlex

    from lrtrack.errors import clean

    names = ", ".join(f"{clean(journal.run.name)[:40]!r}" for journal in journals[:3])
    more = ", …" if len(journals) > 3 else ""
    return (
        f"{_count(journals)} that you did not write ({names}{more}). Fix: if you trust them, run "
        f"`lrtrack sync --adopt {shlex.quote(str(layout.root))}`"
    )


def _show(layout: Layout, journals: list[Foreign]) -> None:
    from lrtrack.errors import clean
    from lrtrack.redaction import redact
    from lrtrack.shipping.foreign import destination

    click.echo(f"{layout.root} has {_count(journals)} that you did not write:", err=True)
    for journal in journals[:_SHOWN]:
        run = journal.run
        click.echo("  " + clean(f"{run.name} ({run.id}), recorded in {run.cwd}"), err=True)
        for target in run.targets:
            click.echo("    to " + clean(redact(destination(target))), err=True)
    if len(journals) > _SHOWN:
        click.echo(f"  and {len(journals) - _SHOWN:,} more", err=True)


def _count(journals: list[Foreign]) -> str:
    return "1 journal" if len(journals) == 1 else f"{len(journals):,} journals"
