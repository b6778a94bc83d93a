"""A comparison with everything that its output formats share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from lrtrack.reports.curves import Curves, curves_of
from lrtrack.reports.report import report_of
from lrtrack.reports.table import Report
from lrtrack.stats import ComparisonResult


@dataclass(frozen=True)
class Document:
    """A comparison, its report and its curves: the input of every output format.

    Report and curves are built when a format first needs them, and only once.
    """

    comparison: ComparisonResult

    @cached_property
    def report(self) -> Report:
        """The table and all text."""
        return report_of(self.comparison)

    @cached_property
    def curves(self) -> Curves:
        """The curves of all panels."""
        return curves_of(self.comparison)
