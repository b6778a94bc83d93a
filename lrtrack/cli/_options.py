"""Options that several commands share, and the functions that resolve them."""

from __future__ import annotations

import sys
import tempfile
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from lrtrack.errors import LRTrackError, UsageError
from lrtrack.reports.formats import SUFFIXES
from lrtrack.reports.formats import format_of as suffix_format

F = TypeVar("F", bound=Callable[..., Any])

#: Formats that a browser can display.
_BROWSABLE = ("html", "svg", "png", "pdf")


def tracker_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete a tracker's name, also after a comma in a list of names."""
    from lrtrack.trackers import registry

    before, comma, prefix = incomplete.rpartition(",")
    return [before + comma + name for name in registry.names() if name.startswith(prefix)]


def experiments_option(function: F) -> F:
    """Add `--experiment`, repeatable, and the same as arguments."""
    option = click.option(
        "--experiment",
        "experiments",
        multiple=True,
        metavar="NAME",
        help="MLflow experiment, W&B project or folder of event files. Repeatable.",
    )
    return click.argument("names", nargs=-1, metavar="[EXPERIMENT]…")(option(function))


def add_all(options: Sequence[Callable[[Any], Any]], function: F) -> F:
    """Add options to a command, in their order in its help."""
    for option in reversed(options):
        function = option(function)
    return function


tracker_option = click.option(
    "--tracker",
    "trackers",
    multiple=True,
    metavar="NAME",
    shell_complete=tracker_names,
    help="Tracker to read: mlflow, wandb, local or tensorboard. Repeatable.",
)
uri_option = click.option(
    "--tracking-uri", metavar="URI", help="Address of the tracking server or store."
)


def source_options(function: F) -> F:
    """Add the options that say which runs are read, and where from."""
    return add_all(
        (
            tracker_option,
            uri_option,
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
                help="A filter in the tracker's own language. Repeatable.",
            ),
            click.option(
                "--last", type=int, metavar="N", help="Only the N runs that started last."
            ),
            click.option(
                "--since",
                metavar="WHEN",
                help="Only runs that started since then: 12h, 7d, 2w, or a date.",
            ),
            click.option(
                "--no-cache",
                "cache",
                flag_value=False,
                default=True,
                help="Ignore cached copies of finished runs.",
            ),
        ),
        function,
    )


def sort_option(example: str) -> Callable[[F], F]:
    """Add `--sort`.

    Args:
        example: a field that is worth sorting by.
    """
    return click.option(
        "--sort",
        metavar="[-]FIELD",
        help=f"Sort the rows by a field such as {example}; -{example}: the largest first.",
    )


def output_options(formats: tuple[str, ...]) -> Callable[[F], F]:
    """Add `--format` and `--output`; resolve them with `format_of` and `write_output`."""

    def add(function: F) -> F:
        function = click.option(
            "-o",
            "--output",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Write to FILE; its suffix selects the format.",
        )(function)
        return click.option("--format", "form", type=click.Choice(formats), help="Default: table.")(
            function
        )

    return add


def format_of(form: str | None, path: Path | None, formats: tuple[str, ...]) -> str:
    """Return the format given with `--format`, else that of the file's suffix, else `table`.

    Raises:
        click.UsageError: the suffix is unknown.
    """
    if form is not None or path is None:
        return form or "table"
    known = {suffix: name for suffix, name in SUFFIXES.items() if name in formats}
    return format_by_suffix(path, known)


def format_by_suffix(path: Path, suffixes: Mapping[str, str]) -> str:
    """Return the format that the suffix of `path` stands for.

    Raises:
        click.UsageError: the suffix is not in `suffixes`.
    """
    try:
        return suffix_format(path, suffixes)
    except UsageError as error:
        message = str(error).removesuffix(".")
        raise click.UsageError(f"{message}. Fix: change the suffix or set --format.") from None


def open_option(function: F) -> F:
    """Add `--open`; resolve it with `resolve_format` and `open_in_browser`."""
    return click.option(
        "--open",
        "opened",
        is_flag=True,
        help="Open the report in a browser; without --output, as a temporary HTML file.",
    )(function)


def resolve_format(
    form: str | None, path: Path | None, formats: tuple[str, ...], *, opened: bool
) -> str:
    """Return the format as `format_of` does; with `--open` alone, HTML.

    Raises:
        click.UsageError: the suffix is unknown, a browser cannot display the format, or a
            PNG or PDF would be printed on a terminal.
    """
    if opened and form is None and path is None:
        return "html"
    chosen = format_of(form, path, formats)
    if opened and chosen not in _BROWSABLE:
        raise click.UsageError(
            f"--open cannot show {chosen}, only {', '.join(_BROWSABLE)}. Fix: add --format html or "
            "--output report.html."
        )
    if chosen in ("png", "pdf") and path is None and not opened and sys.stdout.isatty():
        raise click.UsageError(
            f"A {chosen.upper()} cannot be printed on a terminal. Fix: write it to a file with "
            "--output."
        )
    return chosen


def temporary_report(form: str) -> Path:
    """Return a new path for a report that a browser reads after this command has ended."""
    return Path(tempfile.mkdtemp(prefix="lrtrack-")) / f"report.{form}"


def open_in_browser(path: Path) -> None:
    """Open `path` in the user's browser, or report on stderr that there is none."""
    if not webbrowser.open(path.resolve().as_uri()):
        click.echo(f"No browser found. Open {path} yourself.", err=True)


def write_output(content: str | bytes, path: Path | None) -> None:
    """Print `content`, or write it to `path` and report that on stderr; text is UTF-8.

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
        raise LRTrackError(f"Cannot write {path}: {error.strerror or error}.") from error
    click.echo(f"Wrote {path}", err=True)
