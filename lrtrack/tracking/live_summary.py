"""A run's figures so far, read on from its journal: whoever never asks pays nothing."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lrtrack.journal.reader import JournalReader
from lrtrack.stats.accumulation import COUNT, LOSS, mean_losses
from lrtrack.stats.summary import final_count, loss_metrics, mean_of_last

#: So many losses before those that are asked for say what is a usual `loss_count`.
_CONTEXT = 1000


class Summing:
    """The last value of each metric, and all losses, of one journal as far as it was looked at.

    Attributes:
        last: metric name to its latest value, in order of appearance.
        step: the latest step; -1 before the first.

    Args:
        path: the journal, which may grow.
        prefix: what stands before the names of its metrics.

    Raises:
        JournalError: it cannot be read.
    """

    def __init__(self, path: Path, prefix: str) -> None:
        self.last: dict[str, float] = {}
        self.step = -1
        self._reader = JournalReader(path)
        self._offset = 0
        self._loss = prefix + LOSS
        self._count = prefix + COUNT
        self._losses = array("d")
        self._counts = array("d")
        self._steps = array("q")

    def look(self) -> None:
        """Take what has come since the last look."""
        for entry in self._reader.entries(self._offset):
            self._offset = entry.end
            if entry.rows is not None:
                self._add(entry.rows)

    def loss(self, last: int | None = None) -> float | None:
        """Mean of the losses of the last `last` steps, or of the last 5 % of all of them.

        Of the latest alone where none is as late; None before the first.
        """
        if not self._losses:
            return None
        if last is None:
            count = final_count(len(self._losses))
        else:
            count = len(self._steps) - bisect_right(self._steps, self.step - last)
        return mean_of_last(self._means(None if last is None else count), count)

    def summary(self) -> dict[str, float]:
        """The last values, and what a tracker shows of a run's loss when it is over."""
        prefix = self._loss.removesuffix(LOSS)
        return {**self.last, **loss_metrics(self._means(), prefix)}

    def _add(self, rows: pa.RecordBatch) -> None:
        if len(rows):
            self.step = rows["step"][-1].as_py()
        for name, column in zip(rows.schema.names[2:], rows.columns[2:], strict=True):
            there = column.drop_null()
            if len(there):
                self.last[name] = there[-1].as_py()
        if self._loss in rows.schema.names:
            self._add_losses(rows)

    def _add_losses(self, rows: pa.RecordBatch) -> None:
        there = rows[self._loss].is_valid()
        steps = rows["step"].filter(there).tolist()
        counts = [None] * len(steps)
        if self._count in rows.schema.names:
            counts = rows[self._count].filter(there).tolist()
        losses = rows[self._loss].drop_null().tolist()
        for step, loss, count in zip(steps, losses, counts, strict=True):
            known = math.nan if count is None else count
            if self._steps and step == self._steps[-1]:  # replaced by the user
                self._losses[-1], self._counts[-1] = loss, known
            else:
                self._losses.append(loss)
                self._counts.append(known)
                self._steps.append(step)

    def _means(self, last: int | None = None) -> NDArray[np.float64]:
        """At least the `last` losses (None: all), each as the mean over its step's batches."""
        first = 0 if last is None else -(last + _CONTEXT)
        return mean_losses(np.array(self._losses[first:]), np.array(self._counts[first:]))
