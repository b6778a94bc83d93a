"""A comparison in any format, on stdout or in a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lrtrack.cli import _options

if TYPE_CHECKING:
    from lrtrack.stats import Comparison

FORMATS = ("table", "markdown", "csv", "json", "html", "png", "svg")


def show(
    comparison: Comparison, form: str = "table", path: Path | None = None, axis: str = "step"
) -> None:
    """Print `comparison` in a format, or write it to `path`."""
    from lrtrack.reports import chart, terminal
    from lrtrack.reports.report import report_of

    if form != "table":
        _options.deliver(_rendered(comparison, form, axis), path)
    elif path is not None:
        _options.deliver(terminal.text(report_of(comparison)), path)
    else:
        report = report_of(comparison)
        terminal.write(report, sys.stdout)
        used = terminal.text(report, terminal.width_of(sys.stdout)).count("\n")
        chart.write(comparison, sys.stdout, used, axis=axis)


def _rendered(comparison: Comparison, form: str, axis: str) -> str | bytes:
    if form in ("png", "svg"):
        from lrtrack.reports import figures

        return figures.render(comparison, "png" if form == "png" else "svg", axis=axis)
    from lrtrack.reports import csvtext, html, jsontext, markdown
    from lrtrack.reports.report import report_of

    if form == "html":
        return html.render(comparison, axis=axis)
    if form == "json":
        return jsontext.render(comparison)
    return csvtext.render(comparison) if form == "csv" else markdown.render(report_of(comparison))
