"""Statistics of a run's records, updated batch by batch so that no run is ever read back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtrack.records import History
from lrtrack.schedules import Schedule
from lrtrack.stats.diagnose import thresholds
from lrtrack.stats.diagnose.evidence import Evidence
from lrtrack.stats.diagnose.group_rates import GroupRates
from lrtrack.stats.diagnose.plateau import Plateau
from lrtrack.stats.diagnose.schedule_length import After, length_of
from lrtrack.stats.spikes import WINDOW, spike_ratios

Floats = NDArray[np.float64]
#: Metric name → values, shape (n,), and a mask of present ones, shape (n,); None if all are.
Columns = Mapping[str, tuple[Floats, NDArray[np.bool_] | None]]

#: Binary exponents of float64, with an offset for the smallest.
_EXPONENTS, _OFFSET = 2200, 1100


def columns_of_part(columns: Columns, prefix: str, name: str) -> Columns:
    """Return the columns of one optimizer of several, under the names of one that is alone.

    Args:
        columns: those of the run.
        prefix: precedes the names of the run's metrics.
        name: the optimizer's name.
    """
    own = {}
    for column, values in columns.items():
        head, _, rest = column.removeprefix(prefix).partition("/")
        if rest == name or rest.startswith(f"{name}/"):
            own[head + rest.removeprefix(name)] = values
    if "plateau_metric" not in own and f"{prefix}plateau_metric" in columns:
        own["plateau_metric"] = columns[f"{prefix}plateau_metric"]
    return own


class Bad:
    """The first loss that was not finite.

    Attributes:
        lr, grad_norm, unclipped: rate, and norms after and before clipping, of the step before;
            NaN if there is none.
        later: number of later losses; `spoilt`: how many of them are not finite either.
    """

    def __init__(self, step: int, value: float, before: tuple[float, ...]) -> None:
        self.step = step
        self.value = value
        self.lr, self.grad_norm, self.unclipped = before
        self.later = self.spoilt = 0


class RunningStatistics:
    """Running statistics of one run's records.

    Args:
        schedule: decides which statistics apply (plateau, cosine).
        prefix: precedes the names of the run's metrics.

    Attributes:
        recorded: steps with a learning rate; `with_norm`: those with a gradient norm, too.
        peak: the largest learning rate of any group; 0 before the first.
        groups: the learning rates of the param groups.
        losses: number of losses.
        bad: the first loss that is not finite.
        clipped: steps in which clipping left less than a tenth of the norm.
        spikes: how often gradient norms rose far above the norms before them; `largest`: the
            highest ratio.
        plateau: the decisions of a plateau schedule.
        risen: how far a cosine rose again from its minimum; 0 while it has not.
        evidence: what LR014 to LR025 need.
    """

    def __init__(self, schedule: Schedule, prefix: str = "") -> None:
        self.recorded = self.with_norm = self.losses = self.clipped = self.spikes = 0
        self.peak = self.largest = self.risen = 0.0
        self.bad: Bad | None = None
        self.plateau = Plateau.of(schedule)
        self.evidence = Evidence(prefix)
        length = length_of(schedule)
        self._cosine = length if length is not None and length.after is After.RISES else None
        self._prefix = prefix
        self._zeros = 0
        self._exponents = np.zeros(_EXPONENTS, dtype=np.int64)
        self.groups = GroupRates()
        self._high = 0.0
        self._bottomed = False
        self._before: tuple[float, ...] = (np.nan, np.nan, np.nan)
        self._norms: Floats = np.empty(0)
        self._highest = 0.0
        self._spiking = False

    @classmethod
    def of(cls, history: History) -> RunningStatistics:
        """Compute the statistics of a whole history."""
        statistics = cls(history.run.schedule, history.run.prefix)
        present = history.present
        columns = {name: (values, present[name]) for name, values in history.metrics.items()}
        statistics.add(history.steps, columns, history.times)
        return statistics

    def add(self, steps: NDArray[np.int64], columns: Columns, times: Floats | None = None) -> None:
        """Add records in step order; a step may appear again with other metrics.

        Args:
            times: seconds since the epoch, shape (n,); None where they are unknown.
        """
        self.evidence.add(steps, columns, times)
        lr = self._column(columns, "lr")
        norm = self._column(columns, "grad_norm")
        preclip = self._column(columns, "grad_norm_preclip")
        loss = self._column(columns, "loss")
        has_rate = ~np.isnan(lr)
        fallen = np.full(lr.shape, np.nan)
        if has_rate.any():
            fallen[has_rate] = self._add_rates(lr[has_rate], *self._rates(columns, has_rate))
            self.with_norm += int(np.count_nonzero(self._there(columns, "grad_norm") & has_rate))
            self._add_norms(norm[has_rate], preclip[has_rate])
        if "loss" in {name.removeprefix(self._prefix) for name in columns}:
            self._add_losses(steps, loss, (lr, norm, preclip), self._there(columns, "loss"))
        if self.plateau is not None:
            given = self._there(columns, "plateau_metric")
            self.plateau.follow(self._column(columns, "plateau_metric"), given, fallen)
        if has_rate.any():
            last = int(np.flatnonzero(has_rate)[-1])
            self._before = float(lr[last]), float(norm[last]), float(preclip[last])

    @property
    def still(self) -> bool:
        """Whether no learning rate of any group has ever changed."""
        return self.groups.still

    def near_zero(self) -> int:
        """Steps whose learning rate was 0, or under a millionth of the peak."""
        return self.under(thresholds.NEAR_ZERO)

    def under(self, part: float) -> int:
        """Steps whose learning rate was 0, or under a part of the peak (up to 2 times less)."""
        if not self.peak > 0.0:
            return self._zeros
        least = int(np.frexp(part * self.peak)[1]) + _OFFSET
        return self._zeros + int(self._exponents[:least].sum())

    def _column(self, columns: Columns, name: str) -> Floats:
        """Return a metric's values, NaN for missing ones."""
        entry = columns.get(self._prefix + name)
        if entry is None:
            size = next((values.size for values, _ in columns.values()), 0)
            return np.full(size, np.nan)
        values, present = entry
        return values if present is None else np.where(present, values, np.nan)

    def _there(self, columns: Columns, name: str) -> Any:
        entry = columns.get(self._prefix + name)
        if entry is None:
            return np.zeros(next((v.size for v, _ in columns.values()), 0), dtype=bool)
        return np.ones(entry[0].size, dtype=bool) if entry[1] is None else entry[1]

    def _rates(self, columns: Columns, rows: NDArray[np.bool_]) -> tuple[list[str], Floats]:
        """Return the groups' names and learning rates, shape (groups, n).

        A group that is alone has the name "". Once others are added, its rates before belong to the
        first group, which is found by its rate.
        """
        lr = self._column(columns, "lr")[rows]
        lead = f"{self._prefix}lr/"
        names = sorted(name.removeprefix(lead) for name in columns if name.startswith(lead))
        rates = np.array([self._column(columns, f"lr/{name}")[rows] for name in names])
        alone = np.isnan(rates).all(axis=0) if names else np.ones(lr.shape, dtype=bool)
        if alone.all():
            return [""], lr[None, :]
        begin = int(np.argmin(alone))
        first = int(np.argmax(rates[:, begin] == lr[begin]))
        rates[first, alone] = lr[alone]
        self.groups.rename("", names[first])
        return names, rates

    def _add_rates(self, lr: Floats, names: list[str], rates: Floats) -> NDArray[np.bool_]:
        """Add learning rates, and return where that of any group is lower than before.

        Args:
            lr: of the first group, shape (n,), n > 0.
            names, rates: of all groups; see `_rates`.
        """
        fallen = self.groups.add(names, rates)
        # A group with rate 0 is no finding while another one trains.
        top = np.fmax(lr, np.fmax.reduce(rates, axis=0))
        self.recorded += top.size
        self.peak = max(self.peak, float(top.max()))
        above = top > 0.0
        self._zeros += int(top.size - np.count_nonzero(above))
        exponents = np.frexp(top[above & np.isfinite(top)])[1] + _OFFSET
        self._exponents += np.bincount(exponents, minlength=_EXPONENTS)
        if self._cosine is not None:
            self._add_cosine(top, self._cosine.floor)
        return fallen

    def _add_cosine(self, top: Floats, floor: float) -> None:
        high = np.maximum.accumulate(np.maximum(top, self._high)) - floor
        self._high = float(high[-1]) + floor
        if not self._bottomed:
            at = np.flatnonzero(top - floor <= thresholds.BOTTOM * high)
            if not at.size:
                return
            self._bottomed, top = True, top[at[0] :]
        self.risen = max(self.risen, float(top.max()) - floor)

    def _add_norms(self, norms: Floats, preclip: Floats) -> None:
        hard = np.isfinite(preclip) & (preclip > thresholds.HARD * norms)
        self.clipped += int(np.count_nonzero(hard))
        norms = norms[~np.isnan(norms)]
        if not norms.size:
            return
        earlier = self._norms.size
        joined = np.concatenate((self._norms, norms))
        ratios = spike_ratios(joined)[earlier:]
        highest = np.fmax.accumulate(np.append(self._highest, np.where(np.isinf(norms), 0, norms)))
        ratios[norms < thresholds.FAINT * highest[:-1]] = 0.0
        spiking = ratios > 0.0
        self.spikes += int(np.count_nonzero(spiking & ~np.append(self._spiking, spiking[:-1])))
        self.largest = max(self.largest, float(ratios.max()))
        self._highest, self._spiking = float(highest[-1]), bool(spiking[-1])
        self._norms = joined[-WINDOW:]

    def _add_losses(
        self, steps: NDArray[np.int64], loss: Floats, others: tuple[Floats, ...], there: Any
    ) -> None:
        """Add losses; `others` are the rates, and the norms after and before clipping."""
        at = np.flatnonzero(there)
        finite = np.isfinite(loss[at])
        self.losses += at.size
        if self.bad is not None and (finite & (steps[at] == self.bad.step)).any():
            self.bad = None  # the user has logged another loss for that step
        if self.bad is None and not finite.all():
            first = int(np.flatnonzero(~finite)[0])
            row = int(at[first])
            with_rate = np.flatnonzero(~np.isnan(others[0][:row]))
            before = self._before
            if with_rate.size:
                before = tuple(float(values[with_rate[-1]]) for values in others)
            self.bad = Bad(int(steps[row]), float(loss[row]), before)
            at, finite = at[first + 1 :], finite[first + 1 :]
        if self.bad is not None:
            self.bad.later += at.size
            self.bad.spoilt += int(np.count_nonzero(~finite))
