"""What the records show of rates, losses and gradients, beyond `RunningStatistics`' counts.

Everything is updated batch by batch by the thread that writes the journal, in bounded memory.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lrtrack.stats.accumulation import COUNT, mean_losses
from lrtrack.stats.diagnose.course import OPENING, Course
from lrtrack.stats.diagnose.step_intervals import StepIntervals

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
#: Metric name → values, shape (n,), and a mask of present ones, shape (n,); None if all are.
Columns = Mapping[str, tuple[Floats, Mask | None]]

#: Records at the start in which a layer's gradient may be 0 by its initial weights.
_SETTLING = 10
#: The most layers, and the most param groups, that are looked at.
_MOST_NAMES = 10_000


class Rates:
    """The learning rates of the param groups.

    Attributes:
        first, highest: of each group, by its name; `""` if there is one group.
        changes: records whose rate differs from that of the record before; of group 0.
        rises: how many of these are higher.
        changed_at: the step of the last change.
        began_at: the first step.
        last: the latest rate of group 0.
    """

    def __init__(self) -> None:
        self.first: dict[str, float] = {}
        self.highest: dict[str, float] = {}
        self.changes = self.rises = self.changed_at = 0
        self.began_at: int | None = None
        self.last = np.nan

    def add(self, steps: NDArray[np.int64], lr: Floats, groups: Mapping[str, Floats]) -> None:
        """Add records.

        Args:
            steps: shape (n,), n > 0.
            lr: the rates of group 0, shape (n,).
            groups: the rates of each group, shape (n,); NaN where a group does not exist yet.
        """
        if self.began_at is None:
            self.began_at = int(steps[0])
        before = np.concatenate(([self.last], lr[:-1]))
        at = np.flatnonzero((lr != before) & np.isfinite(before))
        self.changes += at.size
        self.rises += int(np.count_nonzero(lr[at] > before[at]))
        self.changed_at = int(steps[at[-1]]) if at.size else self.changed_at
        self.last = float(lr[-1])
        for name, rates in (groups or {"": lr}).items():
            known = rates[np.isfinite(rates)]
            if known.size and (name in self.highest or len(self.highest) < _MOST_NAMES):
                self.first.setdefault(name, float(known[0]))
                top = float(known.max())
                self.highest[name] = max(self.highest.get(name, top), top)


class Layers:
    """Mean logarithms of the gradient norms of weights, where they are recorded by parameter."""

    def __init__(self) -> None:
        self._logs: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._skipped = 0

    def add(self, columns: Columns, before: str) -> None:
        """Add records.

        Args:
            columns: those of the run.
            before: what precedes a parameter's name.
        """
        named = [
            name
            for name in columns
            if name.startswith(before) and name.rpartition(".")[2] == "weight"
        ]
        if not named:
            return
        skip = max(0, _SETTLING - self._skipped)  # records, not norms: some may have none
        self._skipped += columns[named[0]][0].size
        for column in named:
            name = column.removeprefix(before)
            if name not in self._counts and len(self._counts) >= _MOST_NAMES:
                continue
            values, present = columns[column]
            values, present = values[skip:], None if present is None else present[skip:]
            norms = values if present is None else values[present]
            norms = norms[np.isfinite(norms) & (norms > 0.0)]
            self._logs[name] = self._logs.get(name, 0.0) + float(np.log10(norms).sum())
            self._counts[name] = self._counts.get(name, 0) + norms.size

    def typical(self, least: int) -> dict[str, float]:
        """The geometric mean of each weight's norms, in the order of the parameters.

        Args:
            least: how many norms other than 0 a weight needs.
        """
        return {
            name: 10.0 ** (self._logs[name] / count)
            for name, count in self._counts.items()
            if count >= least
        }


class Evidence:
    """What the rules LR014 to LR025 need of a run's records.

    Attributes:
        rates: the learning rates.
        losses: the losses; those of incomplete accumulation groups as means.
        norms: the gradient norms; `unclipped`: the first up to `OPENING` of them before clipping,
            of the first steps without a gap.
        zero_norms: how many norms are 0.
        is_negative: whether any loss is negative.
        count: `backward()` calls behind the first loss, if they were counted; 0 if not.
        infinite: records whose norm is not finite although the loss is; `infinite_at`: the step of
            the first.
        layers: the norms of the weights.
        intervals: the times between steps.
        several: whether several optimizers have rates or losses of their own.

    Args:
        prefix: precedes the names of the run's metrics.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.rates, self.layers, self.intervals = Rates(), Layers(), StepIntervals()
        self.losses, self.norms = Course(), Course()
        self.unclipped: Floats = np.empty(0)
        self._next: int | None = None
        self.zero_norms = self.count = self.infinite = 0
        self.infinite_at = -1
        self.is_negative = self.several = False

    def add(self, steps: NDArray[np.int64], columns: Columns, times: Floats | None) -> None:
        """Add records in step order; a step may appear again with other metrics.

        Args:
            times: seconds since the epoch, shape (n,); None where they are unknown.
        """
        own = len(self._prefix)
        named = {
            name[own:]: values for name, values in columns.items() if name[:own] == self._prefix
        }
        stepped = _there(named, "lr", steps.size)
        self.several |= any(name.startswith("loss/") for name in named)
        if stepped.any():
            groups = {
                name.removeprefix("lr/"): _values(named, name, steps.size)[stepped]
                for name in named
                if name.startswith("lr/")
            }
            self.rates.add(steps[stepped], named["lr"][0][stepped], groups)
            if times is not None:
                self.intervals.add(steps[stepped], times[stepped])
            self._add_norms(steps[stepped], named, stepped)
        self._add_losses(named, steps.size)
        self._add_infinite(steps, named)
        self.layers.add(named, "grad_norm/")

    def _add_norms(self, steps: NDArray[np.int64], named: Columns, stepped: Mask) -> None:
        norms = _values(named, "grad_norm", stepped.size)[stepped]
        self.norms.add(norms)
        self.zero_norms += int(np.count_nonzero(norms == 0.0))
        if self.unclipped.size == OPENING or self._next == -1:
            return
        before = _values(named, "grad_norm_preclip", stepped.size)[stepped]
        whole = np.where(np.isnan(before), norms, before)
        expected = np.arange(steps.size) + (int(steps[0]) if self._next is None else self._next)
        gaps = np.flatnonzero((steps != expected) | ~np.isfinite(whole))
        sound = int(gaps[0]) if gaps.size else steps.size
        self._next = -1 if gaps.size else int(expected[-1]) + 1
        self.unclipped = np.concatenate((self.unclipped, whole[:sound]))[:OPENING]

    def _add_losses(self, named: Columns, size: int) -> None:
        there = _there(named, "loss", size)
        if not there.any():
            return
        losses = named["loss"][0]
        counts = _values(named, COUNT, size) if COUNT in named else None
        if counts is not None and self.losses.count == 0:
            first = counts[there][0]
            self.count = int(first) if np.isfinite(first) and 0.0 < first < 1e9 else 0
        self.is_negative |= bool((losses[there] < 0.0).any())
        self.losses.add(mean_losses(losses[there], None if counts is None else counts[there]))

    def _add_infinite(self, steps: NDArray[np.int64], named: Columns) -> None:
        both = _there(named, "loss", steps.size) & _there(named, "grad_norm", steps.size)
        if not both.any():
            return
        bad = both & ~np.isfinite(named["grad_norm"][0]) & np.isfinite(named["loss"][0])
        if bad.any():
            self.infinite_at = self.infinite_at if self.infinite else int(steps[np.argmax(bad)])
            self.infinite += int(np.count_nonzero(bad))


def _there(columns: Columns, name: str, size: int) -> Mask:
    """Which records have a metric, shape (size,)."""
    entry = columns.get(name)
    if entry is None:
        return np.zeros(size, dtype=bool)
    return np.ones(size, dtype=bool) if entry[1] is None else entry[1]


def _values(columns: Columns, name: str, size: int) -> Floats:
    """A metric's values, shape (size,), NaN for missing ones."""
    entry = columns.get(name)
    if entry is None:
        return np.full(size, np.nan)
    return entry[0] if entry[1] is None else np.where(entry[1], entry[0], np.nan)
