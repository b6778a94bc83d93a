"""Options that several commands share, and where results go."""

from __future__ import annotations

import sys
import tempfile
import webbrowser
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from lrtrack.errors import LRTrackError, UsageError
from lrtrack.reports.formats import SUFFIXES
from lrtrack.reports.formats import format_of as suffix_format

F = TypeVar("F", bound=Callable[..., Any])

#: Formats that a browser shows.
_BROWSABLE = ("html", "svg", "png")


def tracker_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a tracker, after a comma another one."""
    from lrtrack.trackers import registry

    before, comma, begun = incomplete.rpartition(",")
    return [before + comma + name for name in registry.names() if name.startswith(begun)]


def sources(function: F) -> F:
    """Add `--experiment`, `--tracker`, `--tracking-uri`, `--filter`, `--filter-raw` and
    `--no-cache`."""
    for option in reversed(
        (
            click.option("--experiment", metavar="NAME", help="MLflow experiment or W&B project."),
            click.option(
                "--tracker",
                "trackers",
                multiple=True,
                metavar="NAME",
                shell_complete=tracker_names,
                help="Where the runs are: mlflow, wandb, local. Repeatable.",
            ),
            click.option("--tracking-uri", metavar="URI", help="Where the tracker is."),
            click.option(
                "--filter",
                "filters",
                multiple=True,
                metavar='"FIELD OP VALUE"',
                help='Only runs that match, for example "seed < 5". Repeatable.',
            ),
            click.option(
                "--filter-raw",
                "filter_raw",
                multiple=True,
                metavar="EXPR",
                help="The same in the tracker's own filter language. Repeatable.",
            ),
            click.option(
                "--no-cache",
                "cache",
                flag_value=False,
                default=True,
                help="Fetch finished W&B runs again that this machine has copies of.",
            ),
        )
    ):
        function = option(function)
    return function


def output(formats: tuple[str, ...]) -> Callable[[F], F]:
    """Add `--format` and `--output`; resolve them with `format_of` and `deliver`."""

    def add(function: F) -> F:
        function = click.option(
            "-o",
            "--output",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Write there; the suffix decides the format.",
        )(function)
        return click.option("--format", "form", type=click.Choice(formats), help="Default: table.")(
            function
        )

    return add


def format_of(form: str | None, path: Path | None, formats: tuple[str, ...]) -> str:
    """Decide the format: what `--format` says, else the file's suffix, else a table.

    Raises:
        click.UsageError: the suffix is none of those known.
    """
    if form is not None or path is None:
        return form or "table"
    known = {suffix: name for suffix, name in SUFFIXES.items() if name in formats}
    return format_by_suffix(path, known)


def format_by_suffix(path: Path, suffixes: Mapping[str, str]) -> str:
    """The format that the suffix of `path` names.

    Raises:
        click.UsageError: the suffix is none of `suffixes`.
    """
    try:
        return suffix_format(path, suffixes)
    except UsageError as error:
        known = str(error).removesuffix(".")
        raise click.UsageError(f"{known}; or say it with --format.") from None


def opened(function: F) -> F:
    """Add `--open`; resolve it with `asked` and `open_in_browser`."""
    return click.option(
        "--open",
        "opened",
        is_flag=True,
        help="Open it in a browser; without --output as HTML in a temporary file.",
    )(function)


def asked(form: str | None, path: Path | None, formats: tuple[str, ...], *, opened: bool) -> str:
    """Decide the format as `format_of` does, for a browser without further word HTML.

    Raises:
        click.UsageError: the suffix is none of those known, a browser does not show the format,
            or a picture would go to a terminal.
    """
    if opened and form is None and path is None:
        return "html"
    chosen = format_of(form, path, formats)
    if opened and chosen not in _BROWSABLE:
        raise click.UsageError(
            f"--open shows {', '.join(_BROWSABLE)}, not {chosen}: say --format html or "
            "--output report.html."
        )
    if chosen == "png" and path is None and not opened and sys.stdout.isatty():
        raise click.UsageError("A PNG cannot be shown as text: write it to a file with --output.")
    return chosen


def temporary(form: str) -> Path:
    """A new file for a browser, which still reads it when this command is over."""
    return Path(tempfile.mkdtemp(prefix="lrtrack-")) / f"report.{form}"


def open_in_browser(path: Path) -> None:
    """Open `path` in the user's browser, or say on stderr that there is none."""
    if not webbrowser.open(path.resolve().as_uri()):
        click.echo(f"No browser found here; open {path} in one.", err=True)


def deliver(content: str | bytes, path: Path | None) -> None:
    """Print `content`, or write it to `path` and say so on stderr; text as UTF-8 both ways.

    Raises:
        LRTrackError: the file cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    if path is None:
        click.echo(data, nl=False)
        return
    try:
        path.write_bytes(data)
    except OSError as error:
        raise LRTrackError(f"Cannot write {path}: {error.strerror or error}") from error
    click.echo(f"Wrote {path}", err=True)
