"""Which rows of a run its charts need, where more steps are made than a chart is meant for.

Steps are cut into stretches. Of each stretch, the rows stay that hold the first, last, lowest or
highest value of a metric. A line through these looks like the line through all of them (M4
aggregation), and no peak is lost. A stretch ends as soon as the budget has room for its rows: at
once while the training is slow enough, so that nothing is left out then.

The result depends on the records alone, not on how they are cut into batches, so that a delivery
that is repeated after a failure chooses the same rows.
"""

from __future__ import annotations

import math

from lrtrack.records import StepRecord
from lrtrack.stats.row_budget import RowBudget

#: Values of a metric in one stretch that all stay.
FEW = 16
#: A metric is rare, and all its values stay, if it comes at most once in so many steps; or once in
#: `SELDOM` steps and `PAUSE` seconds.
RARE, SELDOM, PAUSE = 100, 10, 6.0
#: Rows of a stretch that one metric needs: the first, last, lowest and highest.
CORNERS = 4

#: A row and its number in the stretch.
_Row = tuple[int, StepRecord]


class Thinner:
    """Takes the records of a run in order, and returns those that charts need.

    Records of the same step that follow each other, such as a step and what `run.log` added to it,
    are one row. Its metrics are those of all of them, and its time is that of the first.

    Args:
        budget: how many rows may be returned.
    """

    def __init__(self, budget: RowBudget) -> None:
        self.budget = budget
        self._step: StepRecord | None = None
        self._stretch = _Stretch()
        self._needed = 1

    def begins(self, record: StepRecord) -> bool:
        """Whether `record` begins another row than the record before it."""
        return self._step is None or self._step.step != record.step

    @property
    def is_empty(self) -> bool:
        """Whether every record has been decided on."""
        return self._step is None and not self._stretch.size

    @property
    def is_between(self) -> bool:
        """Whether a stretch begins with the row of the latest record."""
        return not self._stretch.size

    def add(self, record: StepRecord) -> list[StepRecord]:
        """Take a record.

        Returns:
            The rows of the stretch that ends before it, if one does.
        """
        step = self._step
        if step is not None and step.step == record.step:
            metrics = {**step.metrics, **record.metrics}
            self._step = StepRecord(step.step, step.time, metrics)
            return []
        self._step = record
        return [] if step is None else self._settle(step)

    def end(self) -> list[StepRecord]:
        """End the stretch here.

        Returns:
            Its rows, the row of the latest record among them.
        """
        step, self._step = self._step, None
        rows = [] if step is None else self._settle(step)
        return [*rows, *self._close()] if self._stretch.size else rows

    def _settle(self, row: StepRecord) -> list[StepRecord]:
        """Take a row that no record can change any more; return those of a stretch that is over."""
        budget, stretch = self.budget, self._stretch
        budget.step(row.time)
        if not stretch.size and budget.affords(1):
            budget.spend(1)
            return [row]
        stretch.add(row)
        # Counting the rows takes as long as adding one; their number shrinks only at the beginning.
        if stretch.size > FEW + 1 and not budget.affords(self._needed):
            return []
        self._needed = stretch.cost()
        return self._close() if budget.affords(self._needed) else []

    def _close(self) -> list[StepRecord]:
        stretch, self._stretch, self._needed = self._stretch, _Stretch(), 1
        self.budget.spend(stretch.cost())
        return stretch.rows()


class _Stretch:
    """Steps in a row, of which only the rows are kept that may be needed."""

    def __init__(self) -> None:
        self.size = 0
        self._began = 0.0
        self._metrics: dict[str, _Course] = {}

    def add(self, row: StepRecord) -> None:
        if not self.size:
            self._began = row.time
        at = self.size, row
        self.size += 1
        seconds = row.time - self._began
        most = FEW + self.size // RARE
        also = min(self.size // SELDOM, int(seconds / PAUSE)) if seconds > 0 else 0
        for name, value in row.metrics.items():
            course = self._metrics.get(name)
            if course is None:
                self._metrics[name] = _Course(at, value)
            else:
                course.add(at, value, max(most, also))

    def cost(self) -> int:
        """The rows that count: rare values and changes to and from NaN come on top."""
        return min(len(self._needed()), max(FEW, CORNERS * len(self._metrics)))

    def rows(self) -> list[StepRecord]:
        """The rows that are needed, in order."""
        return [row for _, row in sorted(self._needed().items())]

    def _needed(self) -> dict[int, StepRecord]:
        needed: dict[int, StepRecord] = {}
        for course in self._metrics.values():
            needed.update(course.needed())
        return needed


class _Course:
    """One metric in a stretch."""

    __slots__ = ("_changes", "_count", "_first", "_high", "_highest", "_kind", "_last", "_low",
                 "_lowest", "_values")  # fmt: skip

    def __init__(self, at: _Row, value: float) -> None:
        self._first = self._last = self._low = self._high = at
        self._kind = _kind(value)
        self._lowest = self._highest = math.nan if self._kind else value
        self._count = 1
        self._values: list[_Row] | None = [at]  # None: they are too many to keep them all
        self._changes: list[_Row] = []

    def add(self, at: _Row, value: float, most: int) -> None:
        """Take the next value; all values are kept while there are at most `most`."""
        self._count += 1
        if self._values is not None:
            if self._count <= most:
                self._values.append(at)
            else:
                self._values = None
        if (kind := _kind(value)) != self._kind:
            self._kind = kind
            self._changes += [self._last, at]
        self._last = at
        if kind:  # neither NaN nor an infinity is an extreme of a curve
            return
        if not value >= self._lowest:  # also if that is NaN, as before the first finite value
            self._lowest, self._low = value, at
        if not value <= self._highest:
            self._highest, self._high = value, at

    def needed(self) -> list[_Row]:
        """The rows that a chart of the metric needs; some may be there twice."""
        corners = [self._first, self._last, self._low, self._high, *self._changes]
        return corners if self._values is None else self._values


def _kind(value: float) -> str:
    """Whether a value is finite (an empty text), NaN or one of the infinities."""
    return "" if math.isfinite(value) else str(value)
