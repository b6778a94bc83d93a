"""What `lrtrack.compare()` returns: the numbers, and every way to look at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lrtrack import stats
from lrtrack.comparing import dataframes
from lrtrack.reports import formats

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Comparison(stats.ComparisonResult):
    """Schedules side by side, best first: what `lrtrack compare` shows, for Python.

    `print()` shows the table, a notebook's cell a formatted one; the numbers are in `schedules`,
    `runs` and `to_dict()`, and as pandas frames.
    """

    @property
    def headline(self) -> str:
        """One sentence that says what came out."""
        from lrtrack.reports.report import report_of

        return report_of(self).headline

    def schedules_frame(self) -> pd.DataFrame:
        """One row a schedule, best first; see `lrtrack.comparing.dataframes.schedules_frame`."""
        return dataframes.schedules_frame(self)

    def runs_frame(self) -> pd.DataFrame:
        """One row a run; see `lrtrack.comparing.dataframes.runs_frame`."""
        return dataframes.runs_frame(self)

    def histories_frame(self, metrics: str | Sequence[str] | None = None) -> pd.DataFrame:
        """One row a run and step; see `lrtrack.comparing.dataframes.histories_frame`.

        Args:
            metrics: which ones, in this order; None: all.

        Raises:
            UsageError: no run has one of the metrics.
        """
        return dataframes.histories_frame(self, metrics)

    def to_markdown(self) -> str:
        """The report as GitHub-flavoured Markdown."""
        return str(formats.render(self, "markdown"))

    def to_csv(self) -> str:
        """One row a schedule, as CSV; numbers in full."""
        return str(formats.render(self, "csv"))

    def to_html(self, axis: str = "step") -> str:
        """The report as one self-contained HTML page.

        Args:
            axis: the x axis of curves: `step`, `time` (seconds) or `epoch`.
        """
        return str(formats.render(self, "html", axis))

    def save(self, path: str | Path, form: str | None = None, axis: str = "step") -> Path:
        """Write the report to a file, whose suffix decides the format.

        Args:
            path: the file, as in `report.html`; one that is there is overwritten.
            form: the format, where the suffix does not say it, as `lrtrack compare --format`.
            axis: the x axis of curves: `step`, `time` (seconds) or `epoch`.

        Raises:
            UsageError: a suffix, format or axis that there is not.
            LRTrackError: the file cannot be written.
        """
        return formats.save(self, path, form, axis)

    def __repr__(self) -> str:
        return (
            f"<Comparison of {self.experiment!r} by {self.metric!r}: "
            f"{len(self.schedules)} schedules, {sum(item.runs for item in self.schedules)} runs>"
        )

    def __str__(self) -> str:
        return str(formats.render(self, "table")).rstrip("\n")

    def _repr_html_(self) -> str:
        from lrtrack.reports import notebook
        from lrtrack.reports.report import report_of

        return notebook.render(report_of(self))
