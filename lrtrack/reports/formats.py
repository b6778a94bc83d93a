"""A comparison in every format that there is: what `compare`, `save()` and `--publish` share.

A further format is one line in `FORMATS`, and one in `PUBLISHED` if trackers are to keep it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lrtrack.errors import LRTrackError, UsageError, unknown

if TYPE_CHECKING:
    from lrtrack.stats import Comparison


def _table(comparison: Comparison, axis: str) -> str:
    from lrtrack.reports import terminal
    from lrtrack.reports.report import report_of

    return terminal.text(report_of(comparison))


def _markdown(comparison: Comparison, axis: str) -> str:
    from lrtrack.reports import markdown
    from lrtrack.reports.report import report_of

    return markdown.render(report_of(comparison))


def _csv(comparison: Comparison, axis: str) -> str:
    from lrtrack.reports import csvtext

    return csvtext.render(comparison)


def _json(comparison: Comparison, axis: str) -> str:
    from lrtrack.reports import jsontext

    return jsontext.render(comparison)


def _html(comparison: Comparison, axis: str) -> str:
    from lrtrack.reports import html

    return html.render(comparison, axis=axis)


def _png(comparison: Comparison, axis: str) -> bytes:
    from lrtrack.reports import pictures

    return pictures.render(comparison, "png", axis=axis)


def _svg(comparison: Comparison, axis: str) -> bytes:
    from lrtrack.reports import pictures

    return pictures.render(comparison, "svg", axis=axis)


@dataclass(frozen=True)
class Format:
    """One way to write a comparison down.

    Attributes:
        render: makes the whole file's content, with this x axis where there are curves; its
            imports come when it is called.
        suffixes: of files in this format, the usual one first.
    """

    render: Callable[[Comparison, str], str | bytes]
    suffixes: tuple[str, ...]


FORMATS: Mapping[str, Format] = {
    "table": Format(_table, (".txt",)),
    "markdown": Format(_markdown, (".md", ".markdown")),
    "csv": Format(_csv, (".csv",)),
    "json": Format(_json, (".json",)),
    "html": Format(_html, (".html", ".htm")),
    "png": Format(_png, (".png",)),
    "svg": Format(_svg, (".svg",)),
}

#: The formats that a published report is kept in.
PUBLISHED = ("html", "png", "markdown", "csv", "json")

#: File suffix to format.
SUFFIXES: Mapping[str, str] = {
    suffix: name for name, form in FORMATS.items() for suffix in form.suffixes
}


def render(comparison: Comparison, form: str, axis: str = "step") -> str | bytes:
    """`comparison` as the content of a file in format `form`.

    Args:
        comparison: what is told.
        form: one of `FORMATS`.
        axis: the x axis of curves: `step`, `time` or `epoch`.

    Raises:
        UsageError: there is no such format, or the runs do not say where they are on that axis.
    """
    if form not in FORMATS:
        raise UsageError(unknown("format", form, FORMATS))
    return FORMATS[form].render(comparison, axis)


def save(
    comparison: Comparison, path: str | Path, form: str | None = None, axis: str = "step"
) -> Path:
    """Write `comparison` to a file; text as UTF-8.

    Args:
        comparison: what is told.
        path: the file; there is no need for it to be new.
        form: one of `FORMATS`; None: what the suffix says.
        axis: as in `render`.

    Returns:
        The path of the file.

    Raises:
        UsageError: the suffix is none of those known, or the format does not exist.
        LRTrackError: the file cannot be written.
    """
    path = Path(path).expanduser()
    form = form or SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise UsageError(
            f"Cannot tell the format of {path} by its suffix. Known: {', '.join(SUFFIXES)}."
        )
    content = render(comparison, form, axis)
    try:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise LRTrackError(f"Cannot write {path}: {error.strerror or error}") from error
    return path


def files(comparison: Comparison, axis: str = "step") -> dict[str, bytes]:
    """What a published report consists of: file name to content."""
    found = {}
    for name in PUBLISHED:
        form = FORMATS[name]
        content = form.render(comparison, axis)
        data = content.encode() if isinstance(content, str) else content
        found[f"report{form.suffixes[0]}"] = data
    return found
