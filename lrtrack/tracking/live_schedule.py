"""The schedule of a run whose learning rate no readable scheduler moves, found from its records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from lrtrack.capture.describe import opaque
from lrtrack.capture.ensemble import Part, ensemble_of
from lrtrack.capture.nested_schedulers import nested
from lrtrack.capture.scheduler_copy import replica
from lrtrack.capture.simulation import Simulation
from lrtrack.fields import JSON
from lrtrack.journal.rate_column import column_of, finite, is_still, rates_of
from lrtrack.records import Run
from lrtrack.schedules import CONSTANT, Schedule, infer_schedule, parts_of, side_by_side
from lrtrack.stats.diagnose.rate_source import RateMismatch, rate_mismatch
from lrtrack.tracking.captures import Capture, by_name, scheduler_counts
from lrtrack.tracking.rate_curve import RateCurve, repeated

#: The most rates that a schedule is inferred from: it takes about a second.
_MOST = 100_000
#: The same while the training runs, and the number of steps after which it is done first.
_FEW, _FIRST = 2_000, 100
#: The most rates that are simulated at once while the training runs: it takes about 6 ms.
_AT_ONCE = 2_000
#: The parameter of a scheduler whose settings cannot be read: the text of its curve.
_CURVE = "curve"
#: Where in a stretch of one rate records are kept, at no regular distances, besides its ends.
_INSIDE = (0.382, 0.618)


class LiveSchedule:
    """Collects the learning rates of one block, and infers what its schedulers do not say.

    Args:
        run: the run.
        optimizer, scheduler: as in `track()`.
    """

    def __init__(self, run: Run, optimizer: Any, scheduler: Any) -> None:
        self._run = run
        self._opaque: set[str] = set()
        self._inferring: set[str] = set()
        self._declared: dict[str, Any] = {}
        self._begun: dict[str, int] = {}
        self._since = 0
        ensemble = ensemble_of(optimizer, scheduler)
        schedules = parts_of(run.schedule) if ensemble.named else {"": run.schedule}
        self._names = list(dict.fromkeys(part.name for part in ensemble.parts))
        for part in ensemble.parts[: len(self._names)]:
            unread = part.scheduler is not None and opaque(part.scheduler)
            if unread or schedules.get(part.name, Schedule(CONSTANT)) == Schedule(CONSTANT):
                self._inferring.add(part.name)
            if unread:
                self._opaque.add(part.name)
        self.declare(ensemble.parts)
        observed = self._inferring | self._declared.keys()
        self._curves = {name: RateCurve() for name in self._names if name in observed}
        self._due = _FIRST
        self._before: Schedule | None = None
        self._told: Schedule | None = None

    def declare(self, parts: Sequence[Part], since: int = 0) -> None:
        """Note what the schedulers are going to do, at the start or after a checkpoint was loaded.

        Args:
            parts: the optimizers with their schedulers.
            since: the step that is made next; earlier ones are not compared.
        """
        self._since = since
        copies = {part.name: replica(part.scheduler) for part in parts[: len(self._names)]}
        self._declared = {name: copied for name, copied in copies.items() if copied is not None}
        self._begun = {name: copied.last_epoch for name, copied in self._declared.items()}
        self._simulations: dict[str, Simulation] = {}

    def replace_scheduler(self, parts: Sequence[Part], since: int) -> None:
        """Note that another scheduler moves the rate, whose own description counts from now on.

        Args:
            parts, since: as for `declare`.
        """
        self._inferring = set()
        # A new mapping, as the journal's thread may be reading the one so far.
        self._curves = {**{name: RateCurve() for name in self._names}, **self._curves}
        self.declare(parts, since)

    def add(self, steps: NDArray[np.int64], metrics: Mapping[str, Any]) -> None:
        """Add rows that are about to be written to the journal."""
        for name, curve in self._curves.items():
            values, present = metrics.get(column_of(self._run.prefix, name), (None, None))
            if values is not None:
                rows = slice(None) if present is None else present
                curve.add(np.asarray(steps)[rows], values[rows])

    def news(self, steps: int) -> Schedule | None:
        """The schedule that the rates show so far, if it is new and clear; called by a timer.

        It is clear if twice as many steps show the same. Few records are used, because this shares
        the processor with the training.

        Args:
            steps: the number of steps so far.
        """
        if steps < self._due or not self._inferring:
            return None
        self._due = 2 * steps
        earlier, self._before = self._before, self._inferred_from(None, _FEW)
        if self._before is None or self._before != earlier or self._before == self._told:
            return None
        self._told = self._before
        return self._told

    def mismatches(self, capture: Capture, most: int = _MOST) -> dict[str, RateMismatch]:
        """Rates that the schedulers have not set, by optimizer, as far as it can be told.

        Args:
            capture: knows how often the schedulers have moved.
            most: how many more of a scheduler's rates are simulated; later ones are not compared.
        """
        if capture.by_hand:  # nothing tells which count of the scheduler a step belongs to
            return {}
        captures = by_name(capture)
        found = {}
        for name, declared in self._declared.items():
            # A rate that stays while the scheduler moves differs long before the stretch ends.
            steps, rates = finite(*self._curves[name].with_held(_MOST))
            own = steps >= self._since
            steps, rates = steps[own][:_MOST], rates[own][:_MOST]
            counts = scheduler_counts(captures[name], steps) - self._begun[name]
            if _takes_fractions(declared) and (
                captures[name].loads.pace.has_longer_strides or not counts.any()
            ):
                continue  # `step(epoch + i / n)`: the rate moves between the counts
            if name not in self._simulations:
                self._simulations[name] = Simulation(declared)
            simulation = self._simulations[name]
            last = min(int(counts.max(initial=0)) + 1, _MOST)
            simulation.extend(min(last, simulation.size + most))
            mismatch = rate_mismatch(steps, rates, simulation.rates(counts))
            if mismatch is not None:
                found[name] = mismatch
        return found

    def mismatches_so_far(self, capture: Capture) -> dict[str, RateMismatch]:
        """The same while the training runs, in little time."""
        return self.mismatches(capture, _AT_ONCE)

    def at_end(self, table: pa.Table | None) -> Schedule | None:
        """The schedule that the rates show; None if the run's own description stays.

        Args:
            table: all records, where what was collected is not all of them.
        """
        return self._inferred_from(table, _MOST)

    def forget(self) -> None:
        """Drop the copies of the schedulers, at the end of the block."""
        self._declared, self._simulations = {}, {}

    def _inferred_from(self, table: pa.Table | None, most: int) -> Schedule | None:
        names = [name for name in self._names if name in self._inferring]
        inferred = {name: self._inferred(name, table, most) for name in names}
        if all(schedule is None for schedule in inferred.values()):
            return None
        if "" in inferred:
            return inferred[""]
        found = {name: schedule for name, schedule in inferred.items() if schedule is not None}
        constant = dict.fromkeys(names, Schedule(CONSTANT))
        return side_by_side({**constant, **parts_of(self._run.schedule), **found})

    def _inferred(self, name: str, table: pa.Table | None, most: int) -> Schedule | None:
        steps, rates = self._curve(name, table)
        kept = ~repeated(rates)
        steps, rates = _with_held_rates(steps[kept], rates[kept])
        if is_still(rates):
            return None
        stride = -(-rates.size // most)
        schedule = infer_schedule(rates[::stride], steps[::stride])
        if name not in self._opaque:
            return schedule.schedule
        own = parts_of(self._run.schedule).get(name, self._run.schedule)
        params: dict[str, JSON] = {**own.params, _CURVE: schedule.spec}
        return Schedule(own.name, params)

    def _curve(
        self, name: str, table: pa.Table | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        if table is None:
            return finite(*self._curves[name].arrays())
        return rates_of(table, column_of(self._run.prefix, name))


def _takes_fractions(scheduler: Any) -> bool:
    """Whether a scheduler's `step()` takes fractions of an epoch, as torch documents it of one."""
    return any(isinstance(part, CosineAnnealingWarmRestarts) for part in nested(scheduler))


def _with_held_rates(
    steps: NDArray[np.int64], rates: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The records with some of those that stand between two equal ones and were left out.

    Without them, a curve that leaves the rate and returns to it would fit as well.
    """
    (at,) = np.nonzero((np.diff(rates) == 0) & (np.diff(steps) > 2))
    before, after = steps[at], steps[at + 1]
    inside = [before + ((after - before) * share).astype(np.int64) for share in _INSIDE]
    held = [before + 1, *inside, after - 1]
    unique, first = np.unique(np.concatenate([steps, *held]), return_index=True)
    return unique, np.concatenate([rates, *(rates[at] for _ in held)])[first]
