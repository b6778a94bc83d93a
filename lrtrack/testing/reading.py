"""The reading half of a tracker: the histories of an experiment."""

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

#: Values that conversion to text, rounding or a narrower type would change.
VALUES = (
    1 / 3, math.nan, math.inf, -math.inf, 1e-300, -0.0, 5e-324, 2.0**53 - 1, 1e308, 0.1 + 0.2,
)  # fmt: skip
#: Names that break careless quoting, escaping and path handling.
HOSTILE = (
    "a/b/../c", "line\nbreak", "ü 学習率 🚂", "'quoted' \"twice\" `thrice`", "100 %s {x} <b>&amp;",
    "../../up", "x" * 120,
)  # fmt: skip


class Reading(Contract):
    """Identity, values, order, filters, and errors of what is read back."""

    def test_values_are_kept_to_the_last_bit(self, tracker: Tracker) -> None:
        """Every float is kept exactly: NaN, infinities, the smallest numbers and both zeros."""
        records = [StepRecord(r.step, r.time, {"lr": 0.1, "loss": VALUES[r.step]})
                   for r in records_of(len(VALUES))]  # fmt: skip
        self.written(tracker, records)
        same(table_of(records), table_of_history(self.only(tracker)), "the steps")

    def test_a_missing_value_differs_from_nan(self, tracker: Tracker) -> None:
        """A step without a metric differs from a step whose value is NaN."""
        alternating = [{"lr": 0.1}, {"lr": 0.1, "val": math.nan}]
        records = [StepRecord(r.step, r.time, alternating[r.step % 2]) for r in records_of()]
        self.written(tracker, records)
        steps, values = self.only(tracker).series("val")
        same([1, 3, 5, 7], steps.tolist(), "the steps that have the metric")
        same(True, bool(np.isnan(values).all()), "its values are NaN")

    def test_arrays_have_their_types_and_shapes(self, tracker: Tracker) -> None:
        """The arrays of a `History` have the types and shapes that it documents."""
        self.written(tracker, records_of(8))
        history = self.only(tracker)
        same(("int64", (8,)), (str(history.steps.dtype), history.steps.shape), "steps")
        same(("float64", (8,)), (str(history.times.dtype), history.times.shape), "times")
        same(sorted(history.metrics), sorted(history.present), "names of metrics and of masks")
        for name, values in history.metrics.items():
            same(("float64", (8,)), (str(values.dtype), values.shape), f"metric {name!r}")
            mask = history.present[name]
            same(("bool", (8,)), (str(mask.dtype), mask.shape), f"mask of {name!r}")

    def test_times_are_kept(self, tracker: Tracker) -> None:
        """The times of the steps and of the run's end are read back."""
        records = records_of()
        self.written(tracker, records)
        history = self.only(tracker)
        times = np.array([record.time for record in records])
        error = np.abs(history.times - times).max()
        same(True, error <= self.resolution, f"times off by {error} s: at most {self.resolution} s")
        after = history.ended is not None and history.ended >= times[-1] - self.resolution
        same(True, after, f"an end at {history.ended} is not before the last step at {times[-1]}")

    def test_the_identity_of_a_run_is_kept(self, tracker: Tracker) -> None:
        """The schedule, seed, config, tags and device of a run are read back."""
        inner = [{"name": "LinearLR", "total_iters": 5}, {"name": "StepLR", "step_size": 30}]
        run = self.written(
            tracker, records_of(), seed=7, group="a group", prefix="gan/", world_size=2,
            total_steps=1000,
            schedule=Schedule("SequentialLR", {"milestones": [5], "schedulers": inner}),
            config={"width": 64, "layers": [1, 2], "inner": {"rate": 1e-3}, "text": "0.1x"},
        )  # fmt: skip
        history = self.only(tracker)
        same(_known(run, self.keeps), _known(history.run, self.keeps), "the run")
        same((tracker.name, State.FINISHED), (history.tracker, history.state), "tracker and state")

    def test_states_are_kept(self, tracker: Tracker) -> None:
        """A finished run is FINISHED, and a failed one is FAILED."""
        for seed, state in enumerate((State.FINISHED, State.FAILED)):
            run = self.run(tracker, seed=seed)
            self.journal(run, records_of(), state)
            self.ship(tracker, run)
        states = {history.run.seed: history.state for history in self.read(tracker)}
        same({0: State.FINISHED, 1: State.FAILED}, states, "the states, by seed")

    def test_ids_are_those_of_tracked_runs(self, tracker: Tracker) -> None:
        """`History.id` equals the `TrackedRun.id` that users know."""
        run = self.run(tracker)
        self.journal(run, records_of())
        same(self.ship(tracker, run), self.only(tracker).id, "the id")

    def test_the_newest_comes_first(self, tracker: Tracker) -> None:
        """Runs are ordered by start time, newest first, whichever was delivered first."""
        began = self.run(tracker).started
        for seed in (1, 0, 2):
            self.written(tracker, records_of(), seed=seed, started=began - 100 + seed)
        same([2, 1, 0], [history.run.seed for history in self.read(tracker)], "the seeds")

    def test_progress_is_reported(self, tracker: Tracker) -> None:
        """Progress is reported for each run, and the last report is complete."""
        self.needs(self.reads, "this tracker cannot read runs back")
        for seed in range(2):
            self.written(tracker, records_of(), seed=seed)
        reports: list[tuple[int, int]] = []
        histories = list(tracker.histories(self.query(), lambda *pair: reports.append(pair)))
        same((2, [(1, 2), (2, 2)]), (len(histories), reports), "runs, and (done, total)")

    def test_other_experiments_are_left_alone(self, tracker: Tracker) -> None:
        """Only runs of the queried experiment are read."""
        own, other = self.experiment, f"{self.experiment}-other"
        for seed, self.experiment in enumerate((own, other)):
            self.written(tracker, records_of(), seed=seed)
        seeds = [[history.run.seed for history in self.read(tracker, experiment=name)]
                 for name in (own, other)]  # fmt: skip
        same([[0], [1]], seeds, "the seeds in each")

    def test_an_unknown_experiment_is_named(self, tracker: Tracker) -> None:
        """The error names the experiment that does not exist, and the nearest one that does."""
        self.written(tracker, records_of())
        existing, missing = self.experiment, f"{self.experiment[:-1]}_"
        try:
            self.read(tracker, experiment=missing)
        except NothingFound as error:
            same(
                (True, True), (missing in str(error), existing in str(error)), f"names in “{error}”"
            )
        else:
            raise AssertionError(f"{missing!r} does not exist; expected NothingFound")

    def test_filters(self, tracker: Tracker) -> None:
        """A tracker may narrow what it reads by a filter, but leaves out no run that passes."""
        for seed in range(2):
            self.written(tracker, records_of(), seed=seed)
        for text in ("seed = 0", "seed < 1", "state = FINISHED", "name ~ .", "tags.who != you"):
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
        """Names with quotes, newlines, paths or markup come back unchanged."""
        for seed, name in enumerate(HOSTILE):
            self.written(
                tracker, records_of(2), name=name, group=name, seed=seed, tags={"who": name},
                config={"note": name},
            )  # fmt: skip
        runs: dict[Any, Run] = {history.run.seed: history.run for history in self.read(tracker)}
        same(set(range(len(HOSTILE))), set(runs), "the seeds")
        for seed, name in enumerate(HOSTILE):
            run = runs[seed]
            note, who = run.config.get("note"), run.tags.get("who")
            actual = {"name": run.name, "group": run.group, "config": note, "tags": who}
            actual = {field: text for field, text in actual.items() if field in self.keeps}
            same(dict.fromkeys(actual, name), actual, "the run")

    def test_hostile_experiments(self, tracker: Tracker) -> None:
        """An experiment's name may look like a path."""
        base = self.experiment
        for seed, name in enumerate(("a/b", "ü 学", "..")):
            self.experiment = f"{base} {name}"
            self.written(tracker, records_of(2), seed=seed)
            same(seed, self.only(tracker).run.seed, f"the seed in {self.experiment!r}")

    def test_hostile_metrics(self, tracker: Tracker) -> None:
        """Metrics keep their names, with slashes, spaces and other scripts."""
        names = ("val/loss", "lr/a b", "grad_norm/layers.0.weight", "Ünïcode", "top-5 accuracy")
        records = [StepRecord(r.step, r.time, {name: at + 0.5 for at, name in enumerate(names)})
                   for r in records_of(3)]  # fmt: skip
        self.written(tracker, records)
        same(table_of(records), table_of_history(self.only(tracker)), "the steps")


def _known(run: Run, fields: tuple[str, ...]) -> dict[str, Any]:
    """The attributes of a run as text, as trackers may store `0.10` as `0.1`, for example."""
    known: dict[str, Any] = {}
    for name in fields:
        value = getattr(run, name)
        if isinstance(value, Schedule):
            known[name] = value.spec
        elif isinstance(value, str | int | None):
            known[name] = value
        else:
            known |= {key: text_of(inner) for key, inner in flatten(value, f"{name}.").items()}
    return known
