"""The result of `lrtrack.compare()`, with methods to show, save and convert it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lrtrack import stats
from lrtrack.comparing import dataframes
from lrtrack.number_text import count
from lrtrack.reports import formats

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Comparison(stats.ComparisonResult):
    """The schedules of an experiment, best first, as `lrtrack compare` shows them.

    `print()` shows the table and a notebook cell a formatted one. The numbers are in `schedules`,
    `runs` and `to_dict()`, and as pandas data frames.
    """

    @property
    def headline(self) -> str:
        """The result in one sentence."""
        from lrtrack.reports.report import report_of

        return report_of(self).headline

    def schedules_frame(self) -> pd.DataFrame:
        """One row per schedule, best first; see `lrtrack.comparing.dataframes.schedules_frame`."""
        return dataframes.schedules_frame(self)

    def runs_frame(self) -> pd.DataFrame:
        """One row per run; see `lrtrack.comparing.dataframes.runs_frame`."""
        return dataframes.runs_frame(self)

    def histories_frame(self, metrics: str | Sequence[str] | None = None) -> pd.DataFrame:
        """One row per run and step; see `lrtrack.comparing.dataframes.histories_frame`.

        Args:
            metrics: the metrics to include, in this order; None: all.

        Raises:
            UsageError: no run has one of the metrics.
        """
        return dataframes.histories_frame(self, metrics)

    def to_markdown(self) -> str:
        """The report as GitHub-flavoured Markdown."""
        return str(formats.render(self, "markdown"))

    def to_csv(self) -> str:
        """One row per schedule, as CSV with unrounded numbers."""
        return str(formats.render(self, "csv"))

    def to_html(self, axis: str | None = None) -> str:
        """The report as one self-contained HTML page.

        Args:
            axis: the x axis of the curves: `step`, `time` (seconds), `epoch` or a metric; None: the
                `x` of `compare()`.
        """
        return str(formats.render(self, "html", axis))

    def save(
        self,
        path: str | Path,
        form: str | None = None,
        axis: str | None = None,
        *,
        panel: str | None = None,
        figure_size: str | None = None,
    ) -> Path:
        """Write the report to a file in the format of its suffix.

        Args:
            path: the file, for example `report.html`; an existing one is overwritten.
            form: a format of `lrtrack compare --format`; None: the one of the suffix.
            axis: as in `to_html`.
            panel: the only panel of a picture: `final`, `differences`, or a metric such as `loss`;
                None: all.
            figure_size: of a picture: `single` or `double` columns of a paper, or `WxH` in inches;
                None: `double`.

        Returns:
            The path of the file.

        Raises:
            UsageError: the suffix, format, panel or size does not exist, or the format is no
                picture but there is a panel or a size.
            NothingFound: no run says where it is on the axis.
            LRTrackError: the file cannot be written.
        """
        return formats.save(self, path, form, axis, panel=panel, figure_size=figure_size)

    def __repr__(self) -> str:
        return (
            f"<Comparison of {self.experiment!r} by {self.metric!r}: "
            f"{count(len(self.schedules), self.noun)}, "
            f"{count(sum(item.runs for item in self.schedules), 'run')}>"
        )

    def __str__(self) -> str:
        return str(formats.render(self, "table")).rstrip("\n")

    def _repr_html_(self) -> str:
        from lrtrack.reports import notebook
        from lrtrack.reports.report import report_of

        return notebook.render(report_of(self))
