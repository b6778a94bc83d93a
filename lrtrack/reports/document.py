"""A comparison with everything that its output formats share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from lrtrack.errors import UsageError
from lrtrack.reports.curves import Curves, curves_of, curves_over
from lrtrack.reports.report import report_of
from lrtrack.reports.setup import Fact, facts_of
from lrtrack.reports.table import Report
from lrtrack.stats import ComparisonResult
from lrtrack.stats.rulers import EPOCH, STEP, TIME


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
    def facts(self) -> tuple[Fact, ...]:
        """What was compared."""
        return facts_of(self.comparison)

    @cached_property
    def curves(self) -> Curves:
        """The curves of all panels, over steps."""
        return curves_of(self.comparison)

    @cached_property
    def own_curves(self) -> Curves | None:
        """The curves over the comparison's own x axis; None if that is one that all runs have."""
        x = self.comparison.x
        plain = x in (STEP, TIME) or (x == EPOCH and x in self.curves.rulers)
        return None if plain else curves_over(self.comparison, x)

    def curves_on(self, axis: str) -> Curves:
        """The curves that can be drawn over `axis`: `step`, `time`, or that of the comparison.

        Raises:
            UsageError: the comparison has no such axis.
        """
        own = self.own_curves
        if own is not None and own.x == axis:
            return own
        if axis not in self.curves.rulers:
            raise UsageError(self.curves.absent.get(axis, f"There is no x axis {axis!r}."))
        return self.curves
