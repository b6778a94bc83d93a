"""What a picture of a comparison shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from lrtrack.reports import captions
from lrtrack.reports.curves import Curves, Panel
from lrtrack.reports.document import Document
from lrtrack.reports.pictures import lines, rows
from lrtrack.reports.pictures.cast import Cast, cast_of
from lrtrack.reports.small_charts import SmallChart, charts_of

#: What `--panel` calls the panels that are no metric and no small chart.
FINAL, DIFFERENCES = "final", "differences"


@dataclass(frozen=True)
class Content:
    """A comparison, and which of its panels are drawn.

    Attributes:
        only: the only panel; None: all.
    """

    document: Document
    axis: str
    only: str | None

    @cached_property
    def curves(self) -> Curves:
        """The curves on the x axis of the picture."""
        return self.document.curves_on(self.axis)

    @cached_property
    def cast(self) -> Cast:
        """Which schedules are shown, and how."""
        return cast_of(self.document.comparison, self.document.report.names)

    @cached_property
    def charts(self) -> Sequence[SmallChart]:
        """All small charts of the comparison."""
        return charts_of(self.document.comparison)

    @cached_property
    def names(self) -> Sequence[str]:
        """What each panel is called, in the order of drawing."""
        return [
            *(panel.metric for panel in self.curves.panels),
            FINAL,
            *([DIFFERENCES] if rows.compared(self.document.comparison) else []),
            *(chart.name for chart in self.charts),
        ]

    def drawn(self, name: str) -> bool:
        """Whether the panel of this name is there and drawn."""
        return name in self.names and self.only in (None, name)

    @cached_property
    def line_panels(self) -> Sequence[Panel]:
        """The panels of curves that are drawn."""
        return [lines.smoothed(p) for p in self.curves.panels if self.drawn(p.metric)]

    @cached_property
    def row_panels(self) -> Sequence[str]:
        """The names of the panels with rows that are drawn."""
        return [name for name in (FINAL, DIFFERENCES) if self.drawn(name)]

    @cached_property
    def small(self) -> Sequence[SmallChart]:
        """The small charts that are drawn."""
        return [chart for chart in self.charts if self.drawn(chart.name)]

    def notes(self) -> Iterator[str]:
        """How to read the picture."""
        comparison, cast = self.document.comparison, self.cast
        if self.line_panels:
            yield self._lines_note()
            yield captions.MIXED_TASKS_NOTE if comparison.task is not None else ""
        if self.line_panels or self.small:
            yield captions.grey_note([cast.names[at] for at in cast.others], comparison.noun)
        if FINAL in self.row_panels:
            yield captions.FINALS_NOTE
        if DIFFERENCES in self.row_panels:
            yield captions.DIFFERENCES_NOTE.format(noun=comparison.noun)
        if any(
            rows.has_clipped(comparison, cast, finals=name == FINAL) for name in self.row_panels
        ):
            yield captions.BEYOND_NOTE
        if self.row_panels:
            yield captions.rows_note(len(cast.rows), len(comparison.schedules), comparison.noun)
        yield from (chart.note for chart in self.small)

    def _lines_note(self) -> str:
        raw = [panel for panel in self.curves.panels if self.drawn(panel.metric)]
        pairs = [(panel, at) for panel in self.line_panels for at in self.cast.looks]
        shown = [(panel.metric, panel.bundles[at]) for panel, at in pairs]
        shorter = any(mine is not panel for mine, panel in zip(self.line_panels, raw, strict=True))
        return captions.lines_note(
            windows=lines.WINDOWS if shorter else None,
            rates=any(panel.metric == "lr" for panel in raw),
            bands=any(lines.banded(panel, at) for panel, at in pairs),
            logs=any(panel.wide and lines.banded(panel, at) for panel, at in pairs),
            ends=any(
                True for name, item in shown if item and name != "lr" for _ in lines.ends(item)
            ),
            runs=any(name == "lr" and item and not item.flat for name, item in shown),
        )
