"""The metrics that the page's panels can show besides those that they show at first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from lrtrack.reports.curves import Curves, Panel, panels_of
from lrtrack.reports.formatting import count
from lrtrack.stats import ComparisonResult
from lrtrack.stats.accumulation import COUNT

#: The most further metrics, and the most means of schedules that they may have together: each takes
#: a few kilobytes of the page.
_MOST, _MEANS = 16, 480
#: The most values of further metrics that are read: a hundred million take about ten seconds.
_VALUES = 60_000_000
#: With however many schedules and steps, this many metrics are still there.
_FEWEST = 3


@dataclass(frozen=True)
class Further:
    """Panels that readers can add, and how many metrics have none for want of space.

    Attributes:
        panels: over steps.
        own: over the comparison's own axis, if it has one.
        omitted: how many metrics are left out.
    """

    panels: tuple[Panel, ...] = ()
    own: tuple[Panel, ...] = ()
    omitted: int = 0

    @property
    def note(self) -> str:
        """A sentence on the metrics that are left out; empty if none is."""
        if not self.omitted:
            return ""
        return (
            f"The panels can show the {len(self.panels)} further metrics that most runs recorded; "
            f"{count(self.omitted, 'other')} would make the page too large. "
            "lrtrack compare --metric NAME shows any of them."
        )


def further_of(comparison: ComparisonResult, curves: Curves, own: Curves | None) -> Further:
    """The panels of the metrics that most runs recorded and that `curves` lack.

    Args:
        curves: the curves over steps.
        own: those over the comparison's own axis, if it has one.
    """
    shown = {panel.metric for panel in curves.panels}
    runs: Counter[str] = Counter()
    for history in comparison.histories:
        runs.update({name.removeprefix(history.run.prefix) for name in history.metrics})
    # Names with a slash are of parts: there may be one for each layer of a network.
    names = sorted(
        runs.keys() - shown - {COUNT},
        key=lambda name: (-runs[name], name.count("/") + name.count("."), name),
    )
    steps = sum(history.steps.size for history in comparison.histories)
    room = min(_MEANS // max(1, len(curves.members)), _VALUES // max(1, steps))
    most = max(_FEWEST, min(_MOST, room))
    chosen = names[:most]
    if not chosen:
        return Further()

    def panels(members: tuple[tuple[int, ...], ...], x: str | None) -> tuple[Panel, ...]:
        every = panels_of(comparison, members, x, chosen)
        return tuple(panel for panel in every if panel.metric in chosen)

    over = () if own is None or own.x is None else panels(own.members, own.x)
    return Further(panels(curves.members, None), over, len(names) - len(chosen))
