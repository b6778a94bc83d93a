"""All output formats of a comparison, shared by `compare`, `save()` and `--publish`.

To add a format, add a line to `FORMATS`, and one to `PUBLISHED` if trackers should keep it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lrtrack.errors import LRTrackError, UsageError, unknown

if TYPE_CHECKING:
    from lrtrack.reports.document import Document
    from lrtrack.reports.matplotlib_setup import Form
    from lrtrack.stats import ComparisonResult


def _table(document: Document, axis: str) -> str:
    from lrtrack.reports import terminal

    return terminal.text(document.report)


def _markdown(document: Document, axis: str) -> str:
    from lrtrack.reports import markdown

    return markdown.render(document.report)


def _csv(document: Document, axis: str) -> str:
    from lrtrack.reports import csvtext

    return csvtext.render(document.comparison)


def _json(document: Document, axis: str) -> str:
    from lrtrack.reports import jsontext

    return jsontext.render(document.comparison)


def _html(document: Document, axis: str) -> str:
    from lrtrack.reports import html

    return html.render(document, axis=axis)


def _png(document: Document, axis: str) -> bytes:
    from lrtrack.reports import pictures

    return pictures.render(document, "png", axis=axis)


def _svg(document: Document, axis: str) -> bytes:
    from lrtrack.reports import pictures

    return pictures.render(document, "svg", axis=axis)


def _pdf(document: Document, axis: str) -> bytes:
    from lrtrack.reports import pictures

    return pictures.render(document, "pdf", axis=axis)


@dataclass(frozen=True)
class Format:
    """One output format.

    Attributes:
        render: returns the content of the whole file, given the x axis of its curves; it imports
            its renderer only when called.
        suffixes: the suffixes of files in this format, the usual one first.
    """

    render: Callable[[Document, str], str | bytes]
    suffixes: tuple[str, ...]


FORMATS: Mapping[str, Format] = {
    "table": Format(_table, (".txt",)),
    "markdown": Format(_markdown, (".md", ".markdown")),
    "csv": Format(_csv, (".csv",)),
    "json": Format(_json, (".json",)),
    "html": Format(_html, (".html", ".htm")),
    "png": Format(_png, (".png",)),
    "svg": Format(_svg, (".svg",)),
    "pdf": Format(_pdf, (".pdf",)),
}

#: The formats of which one panel can be drawn, in any size.
PICTURES = ("png", "svg", "pdf")

#: The formats that a published report is kept in.
PUBLISHED = ("html", "png", "markdown", "csv", "json")

#: The format of each file suffix.
SUFFIXES: Mapping[str, str] = {
    suffix: name for name, form in FORMATS.items() for suffix in form.suffixes
}


def format_of(path: Path, suffixes: Mapping[str, str] = SUFFIXES) -> str:
    """The format that a file's suffix names, in upper or lower case.

    Raises:
        UsageError: the suffix is none of `suffixes`.
    """
    form = suffixes.get(path.suffix.lower())
    if form is None:
        raise UsageError(
            f"Cannot tell the format of {path} by its suffix. Known: {', '.join(suffixes)}."
        )
    return form


def render(
    comparison: ComparisonResult,
    form: str,
    axis: str | None = None,
    *,
    panel: str | None = None,
    figure_size: str | None = None,
) -> str | bytes:
    """`comparison` as the content of a file in format `form`.

    Args:
        comparison: the comparison to write.
        form: one of `FORMATS`.
        axis: the x axis of curves: `step`, `time`, `epoch` or a metric; None: that of the
            comparison.
        panel: the only panel of a picture: `final`, `differences`, a metric such as `loss` or `lr`,
            or a small chart such as `profile`; None: all panels.
        figure_size: of a picture: `single` or `double` columns of a paper, or `WxH` in inches;
            None: `double`.

    Raises:
        UsageError: there is no such format, panel or size, or `form` is no picture.
        NothingFound: no run says where it is on that axis.
    """
    if form not in FORMATS:
        raise UsageError(unknown("format", form, FORMATS))
    check_picture(form, panel, figure_size)
    document, axis = document_of(comparison, axis)
    if panel is None and figure_size is None:
        return FORMATS[form].render(document, axis)
    from lrtrack.reports import pictures
    from lrtrack.reports.figure_size import DOUBLE, figure_size_of

    size = DOUBLE if figure_size is None else figure_size_of(figure_size)
    return pictures.render(document, cast("Form", form), axis=axis, panel=panel, size=size)


def check_picture(form: str, panel: str | None, figure_size: str | None) -> None:
    """Refuse what can be known to be wrong with a picture before anything is read.

    Raises:
        UsageError: a panel or a size is given for a format that is no picture, or the size is none.
    """
    from lrtrack.reports.figure_size import figure_size_of

    if (panel is not None or figure_size is not None) and form not in PICTURES:
        raise UsageError(
            f"A panel and a figure size are for pictures, and {form} is none. Fix: choose "
            f"{', '.join(PICTURES[:-1])} or {PICTURES[-1]}."
        )
    if figure_size is not None:
        figure_size_of(figure_size)


def document_of(comparison: ComparisonResult, axis: str | None = None) -> tuple[Document, str]:
    """What is to be rendered, and over which x axis; the arguments are those of `render`."""
    from lrtrack.reports.document import Document
    from lrtrack.stats import over_metric
    from lrtrack.stats.rulers import STEP, TIME

    axis = comparison.x if axis is None else axis
    if axis not in (comparison.x, STEP, TIME):
        comparison = over_metric(comparison, axis)
    return Document(comparison), axis


def save(
    comparison: ComparisonResult,
    path: str | Path,
    form: str | None = None,
    axis: str | None = None,
    *,
    panel: str | None = None,
    figure_size: str | None = None,
) -> Path:
    """Write `comparison` to a file; text as UTF-8.

    Args:
        comparison: the comparison to write.
        path: the file; an existing one is overwritten.
        form: one of `FORMATS`; None: the one of the suffix.
        axis, panel, figure_size: as in `render`.

    Returns:
        The path of the file.

    Raises:
        UsageError: the suffix is none of those known, or as for `render`.
        LRTrackError: the file cannot be written.
    """
    path = Path(path).expanduser()
    form = form or format_of(path)
    content = render(comparison, form, axis, panel=panel, figure_size=figure_size)
    try:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise LRTrackError(f"Cannot write {path}: {error.strerror or error}") from error
    return path


def files(document: Document, axis: str = "step") -> dict[str, bytes]:
    """The files of a published report, by name; they share one report and one set of curves."""
    contents = {}
    for name in PUBLISHED:
        form = FORMATS[name]
        content = form.render(document, axis)
        data = content.encode() if isinstance(content, str) else content
        contents[f"report{form.suffixes[0]}"] = data
    return contents
