"""The summary of a run so far, read from its journal: it costs nothing until it is asked for."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from itertools import takewhile
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lrtrack.journal.course import course_of, event_rewind
from lrtrack.journal.reader import JournalReader
from lrtrack.stats.accumulation import COUNT, LOSS, mean_losses, several_losses
from lrtrack.stats.summary import final_count, loss_metrics, mean_of_last

#: How many earlier losses are used to find the usual `loss_count`.
_CONTEXT = 1000


class LiveSummary:
    """The last value of each metric, and all losses, of one journal as far as it was read.

    Attributes:
        last: metric name to its latest value, in order of appearance.
        step: the latest step; -1 before the first.

    Args:
        path: the journal, which may grow.
        prefix: the prefix of its metrics.

    Raises:
        JournalError: the journal cannot be read.
    """

    def __init__(self, path: Path, prefix: str) -> None:
        self._reader = JournalReader(path)
        self._offset = 0
        self._loss = prefix + LOSS
        self._count = prefix + COUNT
        self._forget()

    def _forget(self) -> None:
        self.last: dict[str, float] = {}
        self.step = -1
        self._losses = array("d")
        self._counts = array("d")
        self._steps = array("q")

    def update(self) -> None:
        """Read what was appended since the last update."""
        for entry in self._reader.entries(self._offset):
            self._offset = entry.end
            if entry.rows is not None:
                self._add(entry.rows)
            elif event_rewind(entry.event) is not None:
                self._read_again()

    def _read_again(self) -> None:
        """Read everything so far without the steps that were abandoned."""
        self._forget()
        entries = takewhile(lambda entry: entry.end <= self._offset, self._reader.entries())
        for batch in course_of(entries).table.combine_chunks().to_batches():
            self._add(batch)

    def loss(self, last: int | None = None) -> float | None:
        """Mean of the losses of the last `last` steps, or of the last 5 % of all losses.

        The latest loss if none of these steps has one; None before the first.
        """
        if not self._losses:
            return None
        if last is None:
            count = final_count(len(self._losses))
        else:
            count = len(self._steps) - bisect_right(self._steps, self.step - last)
        return mean_of_last(self._means(None if last is None else count), count)

    def summary(self) -> dict[str, float]:
        """The last values, with `loss_final` and `loss_best`."""
        prefix = self._loss.removesuffix(LOSS)
        return {**self.last, **loss_metrics(self._means(), prefix)}

    def _add(self, rows: pa.RecordBatch) -> None:
        if len(rows):
            self.step = max(self.step, rows["step"][-1].as_py())
        for name, column in zip(rows.schema.names[2:], rows.columns[2:], strict=True):
            values = column.drop_null()
            if len(values):
                self.last[name] = values[-1].as_py()
        if self._loss in rows.schema.names:
            self._add_losses(rows)

    def _add_losses(self, rows: pa.RecordBatch) -> None:
        has_loss = rows[self._loss].is_valid()
        steps = rows["step"].filter(has_loss).tolist()
        counts = [None] * len(steps)
        if self._count in rows.schema.names:
            counts = rows[self._count].filter(has_loss).tolist()
        losses = rows[self._loss].drop_null().tolist()
        for step, loss, count in zip(steps, losses, counts, strict=True):
            count_or_nan = math.nan if count is None else count
            if self._steps and step == self._steps[-1]:  # replaced by the user
                self._losses[-1], self._counts[-1] = loss, count_or_nan
            else:
                self._losses.append(loss)
                self._counts.append(count_or_nan)
                self._steps.append(step)

    def _means(self, last: int | None = None) -> NDArray[np.float64]:
        """At least the `last` losses (None: all), each the mean over the batches of its step."""
        first = 0 if last is None else -(last + _CONTEXT)
        if several_losses(self.last, self._loss.removesuffix(LOSS)):
            return np.array(self._losses[first:])
        return mean_losses(np.array(self._losses[first:]), np.array(self._counts[first:]))
