"""Prints a comparison or writes it to a file, in any format."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lrtrack.cli import _options
from lrtrack.reports import formats

if TYPE_CHECKING:
    from lrtrack.stats import ComparisonResult

FORMATS = tuple(formats.FORMATS)


def show(
    comparison: ComparisonResult,
    form: str = "table",
    path: Path | None = None,
    *,
    panel: str | None = None,
    figure_size: str | None = None,
) -> None:
    """Print `comparison` in the format `form`, or write it to `path`.

    Args:
        panel, figure_size: as in `lrtrack.reports.formats.render`.
    """
    if form != "table" or path is not None:
        content = formats.render(comparison, form, panel=panel, figure_size=figure_size)
        _options.write_output(content, path)
        return
    from lrtrack.reports import chart, terminal

    document, axis = formats.document_of(comparison)
    report = document.report
    terminal.write(report, sys.stdout)
    table_height = terminal.text(report, terminal.width_of(sys.stdout)).count("\n")
    chart.write(document, sys.stdout, table_height, axis=axis)
