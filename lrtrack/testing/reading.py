"""What is read back: histories of whole experiments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lrtrack.errors import NothingFound, UsageError
from lrtrack.fields import flatten, text_of
from lrtrack.filters import filters_of, select
from lrtrack.records import History, Run, State, StepRecord
from lrtrack.schedules import Schedule
from lrtrack.testing.contract import Contract, records_of, same, table_of, table_of_history
from lrtrack.trackers.base import Tracker

#: Values that a text, a rounding or a narrower number on the way would change.
VALUES = (
    1 / 3, math.nan, math.inf, -math.inf, 1e-300, -0.0, 5e-324, 2.0**53 - 1, 1e308, 0.1 + 0.2,
)  # fmt: skip
#: Names that somebody will give one day.
HOSTILE = (
    "a/b/../c", "line\nbreak", "ü 学習率 🚂", "'quoted' \"twice\" `thrice`", "100 %s {x} <b>&amp;",
    "../../up", "x" * 120,
)  # fmt: skip


class Reading(Contract):
    """Identity, values, order, filters, and what is not there."""

    def test_values_are_kept_to_the_last_bit(self, tracker: Tracker) -> None:
        """NaN and infinities are values; so are the smallest numbers and both zeros."""
        records = [StepRecord(r.step, r.time, {"lr": 0.1, "loss": VALUES[r.step]})
                   for r in records_of(len(VALUES))]  # fmt: skip
        self.written(tracker, records)
        same(table_of(records), table_of_history(self.only(tracker)), "the steps")

    def test_a_value_that_is_not_there_is_no_nan(self, tracker: Tracker) -> None:
        """Whether a step has a metric is told apart from a recorded NaN."""
        seldom = [{"lr": 0.1}, {"lr": 0.1, "val": math.nan}]
        records = [StepRecord(r.step, r.time, seldom[r.step % 2]) for r in records_of()]
        self.written(tracker, records)
        steps, values = self.only(tracker).series("val")
        same([1, 3, 5, 7], steps.tolist(), "the steps that have the metric")
        same(True, bool(np.isnan(values).all()), "its values are NaN")

    def test_arrays_have_their_types_and_shapes(self, tracker: Tracker) -> None:
        """Statistics rely on what `History` says of its arrays."""
        self.written(tracker, records_of(8))
        found = self.only(tracker)
        same(("int64", (8,)), (str(found.steps.dtype), found.steps.shape), "steps")
        same(("float64", (8,)), (str(found.times.dtype), found.times.shape), "times")
        same(sorted(found.metrics), sorted(found.present), "names of metrics and of masks")
        for name, values in found.metrics.items():
            same(("float64", (8,)), (str(values.dtype), values.shape), f"metric {name!r}")
            mask = found.present[name]
            same(("bool", (8,)), (str(mask.dtype), mask.shape), f"mask of {name!r}")

    def test_times_are_kept(self, tracker: Tracker) -> None:
        """When the steps ran, and when the run ended."""
        records = records_of()
        self.written(tracker, records)
        found = self.only(tracker)
        times = np.array([record.time for record in records])
        off = np.abs(found.times - times).max()
        same(True, off <= self.resolution, f"times off by {off} s: at most {self.resolution} s")
        late = found.ended is not None and found.ended >= times[-1] - self.resolution
        same(True, late, f"an end at {found.ended} is not before the last step at {times[-1]}")

    def test_a_run_is_who_it_was(self, tracker: Tracker) -> None:
        """Reports group by schedule, seed, config and tags, and say what ran where."""
        inner = [{"name": "LinearLR", "total_iters": 5}, {"name": "StepLR", "step_size": 30}]
        run = self.written(
            tracker, records_of(), seed=7, group="a group", prefix="gan/", world_size=2,
            schedule=Schedule("SequentialLR", {"milestones": [5], "schedulers": inner}),
            config={"width": 64, "layers": [1, 2], "inner": {"rate": 1e-3}, "text": "0.1x"},
        )  # fmt: skip
        found = self.only(tracker)
        same(_known(run, self.keeps), _known(found.run, self.keeps), "the run")
        same((tracker.name, State.FINISHED), (found.tracker, found.state), "tracker and state")

    def test_how_a_run_ended(self, tracker: Tracker) -> None:
        """FINISHED is told from FAILED."""
        for seed, state in enumerate((State.FINISHED, State.FAILED)):
            run = self.run(tracker, seed=seed)
            self.journal(run, records_of(), state)
            self.ship(tracker, run)
        found = {history.run.seed: history.state for history in self.read(tracker)}
        same({0: State.FINISHED, 1: State.FAILED}, found, "the states, by seed")

    def test_ids_are_those_that_users_have(self, tracker: Tracker) -> None:
        """`History.id` is what `TrackedRun.id` says."""
        run = self.run(tracker)
        self.journal(run, records_of())
        same(self.ship(tracker, run), self.only(tracker).id, "the id")

    def test_the_newest_comes_first(self, tracker: Tracker) -> None:
        """By when they began, whichever was delivered first."""
        began = self.run(tracker).started
        for seed in (1, 0, 2):
            self.written(tracker, records_of(), seed=seed, started=began - 100 + seed)
        same([2, 1, 0], [history.run.seed for history in self.read(tracker)], "the seeds")

    def test_progress_is_told(self, tracker: Tracker) -> None:
        """A bar ends full."""
        self.needs(self.reads, "this tracker reads nothing back")
        for seed in range(2):
            self.written(tracker, records_of(), seed=seed)
        told: list[tuple[int, int]] = []
        found = list(tracker.histories(self.query(), lambda *done: told.append(done)))
        same((2, [(1, 2), (2, 2)]), (len(found), told), "runs, and (done, total)")

    def test_other_experiments_are_left_alone(self, tracker: Tracker) -> None:
        """What is read is the experiment that was asked for."""
        own, other = self.experiment, f"{self.experiment}-other"
        for seed, self.experiment in enumerate((own, other)):
            self.written(tracker, records_of(), seed=seed)
        found = [[history.run.seed for history in self.read(tracker, experiment=name)]
                 for name in (own, other)]  # fmt: skip
        same([[0], [1]], found, "the seeds in each")

    def test_an_unknown_experiment_is_named(self, tracker: Tracker) -> None:
        """The error says what was asked for, and names the nearest there is."""
        self.written(tracker, records_of())
        known, asked = self.experiment, f"{self.experiment[:-1]}_"
        try:
            self.read(tracker, experiment=asked)
        except NothingFound as error:
            same((True, True), (asked in str(error), known in str(error)), f"names in “{error}”")
        else:
            raise AssertionError(f"{asked!r} is not there; expected NothingFound")

    def test_filters(self, tracker: Tracker) -> None:
        """A tracker may narrow what it reads by a filter, but leaves out no run that passes."""
        for seed in range(2):
            self.written(tracker, records_of(), seed=seed)
        for text in ("seed = 0", "seed < 1", "state = FINISHED", "name ~ .", "tags.none != 1"):
            (condition,) = filters_of(text)
            expected = [h.id for h in select(self.read(tracker), [condition], History.fields)]
            histories = self.read(tracker, filters=[condition])
            passing = [history.id for history in select(histories, [condition], History.fields)]
            same(expected, passing, f"the runs for which {condition} holds")

    def test_raw_filters(self, tracker: Tracker) -> None:
        """The tracker's own filter language selects runs; a tracker without one says so."""
        for seed in range(2):
            self.written(tracker, records_of(), seed=seed)
        if self.raw_filter is not None:
            histories = self.read(tracker, raw_filters=[self.raw_filter])
            seeds = [history.run.seed for history in histories]
            same([0], seeds, f"the seeds of the runs for which {self.raw_filter} holds")
        refused = [] if self.raw_filter is not None else ["seed = 0"]
        for expression in (*refused, "= nonsense ="):
            try:
                histories = self.read(tracker, raw_filters=[expression])
            except UsageError:
                continue
            seeds = [history.run.seed for history in histories]
            same([], [expression], f"expected a UsageError; read {seeds} with the raw filter")

    def test_hostile_names(self, tracker: Tracker) -> None:
        """Nothing that people call their runs and metrics breaks out or is mixed up."""
        for seed, name in enumerate(HOSTILE):
            self.written(
                tracker, records_of(2), name=name, group=name, seed=seed, tags={"who": name},
                config={"note": name},
            )  # fmt: skip
        found: dict[Any, Any] = {history.run.seed: history.run for history in self.read(tracker)}
        same(set(range(len(HOSTILE))), set(found), "the seeds")
        for seed, name in enumerate(HOSTILE):
            run = found[seed]
            note, who = run.config.get("note"), run.tags.get("who")
            said = {"name": run.name, "group": run.group, "config": note, "tags": who}
            kept = [field for field in said if field in self.keeps]
            same(dict.fromkeys(kept, name), {field: said[field] for field in kept}, "the run")

    def test_hostile_experiments(self, tracker: Tracker) -> None:
        """An experiment's name is no path."""
        base = self.experiment
        for seed, name in enumerate(("a/b", "ü 学", "..")):
            self.experiment = f"{base} {name}"
            self.written(tracker, records_of(2), seed=seed)
            same(seed, self.only(tracker).run.seed, f"the seed in {self.experiment!r}")

    def test_hostile_metrics(self, tracker: Tracker) -> None:
        """Metrics have the names that they were given."""
        names = ("val/loss", "lr/a b", "grad_norm/layers.0.weight", "Ünïcode", "top-5 accuracy")
        records = [StepRecord(r.step, r.time, {name: at + 0.5 for at, name in enumerate(names)})
                   for r in records_of(3)]  # fmt: skip
        self.written(tracker, records)
        same(table_of(records), table_of_history(self.only(tracker)), "the steps")


def _known(run: Run, fields: tuple[str, ...]) -> dict[str, Any]:
    """What is kept of a run, as text: trackers may keep `0.10` as `0.1`, not as something else."""
    found: dict[str, Any] = {}
    for name in fields:
        value = getattr(run, name)
        if isinstance(value, Schedule):
            found[name] = value.spec
        elif isinstance(value, str | int | None):
            found[name] = value
        else:
            found |= {key: text_of(inner) for key, inner in flatten(value, f"{name}.").items()}
    return found
