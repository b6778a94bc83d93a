"""A run's figures so far, read on from its journal: whoever never asks pays nothing."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from pathlib import Path

import numpy as np
import pyarrow as pa

from lrtrack.journal.reader import JournalReader
from lrtrack.stats.summary import FINAL_SHARE

LOSS = "loss"


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
        self._losses = array("d")
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
            count = math.ceil(FINAL_SHARE * len(self._losses))
        else:
            count = len(self._steps) - bisect_right(self._steps, self.step - last)
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.array(self._losses[-max(count, 1) :]).mean())

    def summary(self) -> dict[str, float]:
        """The last values, and what a tracker shows of a run's loss when it is over."""
        found, loss = dict(self.last), self.loss()
        if loss is not None:
            losses = np.array(self._losses)
            finite = losses[np.isfinite(losses)]
            found[f"{self._loss}_final"] = loss
            found[f"{self._loss}_best"] = float(finite.min()) if finite.size else math.nan
        return found

    def _add(self, rows: pa.RecordBatch) -> None:
        if len(rows):
            self.step = rows["step"][-1].as_py()
        for name, column in zip(rows.schema.names[2:], rows.columns[2:], strict=True):
            there = column.drop_null()
            if len(there):
                self.last[name] = there[-1].as_py()
        if self._loss in rows.schema.names:
            losses = rows[self._loss]
            steps = rows["step"].filter(losses.is_valid()).to_numpy(zero_copy_only=False)
            for step, loss in zip(steps.tolist(), losses.drop_null().tolist(), strict=True):
                if self._steps and step == self._steps[-1]:  # the user has given a better one
                    self._losses[-1] = loss
                else:
                    self._losses.append(loss)
                    self._steps.append(step)
