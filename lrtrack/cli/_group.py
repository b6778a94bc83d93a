"""A click group that imports commands on first use and turns errors into exit statuses."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Mapping
from typing import Any, TextIO

import click

from lrtrack.cli._streams import guarded
from lrtrack.errors import LRTrackError, LRTrackWarning, shown, unknown
from lrtrack.redaction import redact
from lrtrack.settings import claim_process, leave_deleted_directory
from lrtrack.user_state import ensure_home

#: The exit status that shells report for a program ended by Ctrl-C.
INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group of lazily imported commands, given as `{name: (module, one-line help)}`.

    Each module defines a click command named `command`. An LRTrackError is printed as one line on
    stderr and sets the exit status; Ctrl-C exits with status 130. Warnings of lrtrack are printed
    as one line on stderr.
    """

    def __init__(self, *, commands: Mapping[str, tuple[str, str]], **settings: Any) -> None:
        super().__init__(**settings)
        self._lazy = dict(commands)

    def main(self, *arguments: Any, **settings: Any) -> Any:
        """Run the command line with streams that may be closed or full."""
        with guarded():
            return super().main(*arguments, **settings)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands without importing them."""
        return sorted(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command and return it."""
        if cmd_name not in self._lazy:
            return None
        command = importlib.import_module(self._lazy[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command in the first argument; for a misspelt name, suggest the nearest."""
        name = args[0]
        if not ctx.resilient_parsing and name not in self._lazy and not name.startswith("-"):
            ctx.fail(unknown("command", name, self._lazy))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their one-line help texts."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._lazy[name][1]) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        claim_process()
        ensure_home()
        if (deleted := leave_deleted_directory()) is not None:
            click.echo(f"Warning: the working directory {deleted} was deleted.", err=True)
        with warnings.catch_warnings():
            warnings.simplefilter("always", LRTrackWarning)
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except LRTrackError as error:
                raise _ClickError(error) from error
            except KeyboardInterrupt:
                click.echo("Interrupted.", err=True)
                raise click.exceptions.Exit(INTERRUPTED) from None


class _ClickError(click.ClickException):
    """A click exception that prints an LRTrackError."""

    def __init__(self, error: LRTrackError) -> None:
        super().__init__(shown(redact(str(error))))
        self.exit_code = error.exit_status  # type: ignore[misc]  # click reads it off the instance


_default_showwarning = warnings.showwarning


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, LRTrackWarning):  # users do not need lrtrack's source line
        click.echo(f"Warning: {shown(redact(str(message)))}", file=file or sys.stderr)
    else:
        _default_showwarning(message, category, filename, lineno, file, line)
