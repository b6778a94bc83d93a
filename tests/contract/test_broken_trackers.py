"""Each test of the contract finds the fault that it is about, in a tracker with that fault."""

from __future__ import annotations

import contextlib
import inspect
import math
import sys
import types
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrtrack.records import History, Run, State, StepRecord, Target
from lrtrack.testing import TrackerContract
from lrtrack.trackers.base import Query, Remote, Tracker
from lrtrack.trackers.memory import MemorySink, MemoryTracker


class Sinking(MemoryTracker):
    """A tracker whose sinks have another class.

    Attributes:
        points: run id to metric to steps, one step per stored value.
    """

    made: type[MemorySink] = MemorySink

    def __init__(self) -> None:
        super().__init__()
        self.points: dict[str, dict[str, list[int]]] = {}

    def sink(self, run: Run, target: Target, remote_id: str | None) -> MemorySink:
        return self.made(self, run, target)


def with_sink(**methods: Any) -> type[Tracker]:
    """A tracker whose sinks have these methods instead of their own."""
    made = type("Sink", (MemorySink,), methods)
    return type("Broken", (Sinking,), {"made": made})


def with_records(change: Callable[[StepRecord], StepRecord]) -> type[Tracker]:
    """A tracker that changes records before it stores them."""

    def write(self: Any, records: Sequence[StepRecord], doubt: bool) -> None:
        MemorySink.write(self, [change(record) for record in records], doubt)

    return with_sink(write=write)


def with_metrics(change: Callable[[str, float], tuple[str, float] | None]) -> type[Tracker]:
    """A tracker that changes metrics before it stores them; None drops one."""

    def changed(record: StepRecord) -> StepRecord:
        metrics = [change(name, value) for name, value in record.metrics.items()]
        return replace(record, metrics=dict(filter(None, metrics)))

    return with_records(changed)


def with_history(change: Callable[[History], History]) -> type[Tracker]:
    """A tracker that changes histories when it reads them back."""

    def histories(self: Any, query: Query, progress: Any = None) -> Iterator[History]:
        yield from map(change, MemoryTracker.histories(self, query, progress))

    return type("Broken", (Sinking,), {"histories": histories})


def with_run(**fields: Callable[[Run], Any]) -> type[Tracker]:
    """A tracker that changes the identity of runs when it reads them back."""
    return with_history(
        lambda history: replace(
            history,
            run=replace(history.run, **{name: of(history.run) for name, of in fields.items()}),
        )
    )


def with_query(**changes: Any) -> type[Tracker]:
    """A tracker that ignores parts of the query."""

    def histories(self: Any, query: Query, progress: Any = None) -> Iterator[History]:
        return MemoryTracker.histories(self, replace(query, **changes), progress)

    return type("Broken", (Sinking,), {"histories": histories})


def appending(looks: bool) -> type[Tracker]:
    """A tracker that appends values, and skips stored ones only if `looks`."""

    def write(self: Any, records: Sequence[StepRecord], doubt: bool) -> None:
        points = self._tracker.points.setdefault(self._id, {})
        for record in records:
            for name in record.metrics:
                steps = points.setdefault(name, [])
                if not (doubt and looks and record.step in steps):
                    steps.append(record.step)
        MemorySink.write(self, records, doubt)

    return with_sink(write=write)


def narrow(name: str, value: float) -> tuple[str, float]:
    """A metric in 32 bits."""
    with np.errstate(over="ignore"):
        return name, float(np.float32(value))


def positive(name: str, value: float) -> tuple[str, float] | None:
    """A metric without its small values."""
    return (name, value) if value > 0.03 else None


def first_wins(self: Any, records: Sequence[StepRecord], doubt: bool) -> None:
    """A `write` that never changes a stored step."""
    steps = self._stored().steps
    MemorySink.write(self, [record for record in records if record.step not in steps], doubt)


def imports(self: Any) -> bool:
    """An `active` that imports a module."""
    name = f"loaded_{uuid.uuid4().hex}"
    sys.modules[name] = types.ModuleType(name)
    return False


def asks(self: Any, experiment: str | None, default: str = "lrtrack") -> Target:
    """A `target` that uses the network."""
    with contextlib.suppress(OSError):
        urllib.request.urlopen("http://127.0.0.1:9/", timeout=0.1)
    return MemoryTracker.target(self, experiment, default)


def closes(self: Any, state: State, ended: float, summary: Mapping[str, float]) -> None:
    """A `close` that adds a point each time."""
    MemorySink.close(self, state, ended, summary)
    steps = self._stored().steps
    steps[len(steps)] = StepRecord(len(steps), ended, {"loss": summary.get("loss_final", 0.0)})


def makes_another(self: Any) -> Remote:
    """An `open` that creates a run each time it is called."""
    self._id = f"{self._run.id}-{len(self._tracker.stored)}"
    return MemorySink.open(self)


def one_for_all(self: Any) -> Remote:
    """An `open` that confuses runs of the same name."""
    self._id = self._run.name
    return MemorySink.open(self)


def keeps(self: Any, history: Path) -> None:
    """An `upload` that does not complete the file."""
    self._stored().uploaded = history.read_bytes()


def goes_over(self: Any) -> Remote:
    """An `open` that forgets the earlier steps of a continued run."""
    remote = MemorySink.open(self)
    self._earlier = frozenset()
    return remote


def of_class(**attributes: Any) -> type[Tracker]:
    """A tracker with other attributes."""
    return type("Broken", (Sinking,), attributes)


#: Test to trackers with a fault that it finds.
FAULTS: dict[str, list[type[Tracker]]] = {
    "it_is_a_tracker": [of_class(name="two,names"), of_class(portable=None)],
    "a_portable_tracker_is_found_by_its_name": [of_class(portable=True, name="local")],
    "no_run_is_active": [of_class(active=lambda self: True)],
    "active_imports_nothing": [of_class(active=imports)],
    "status_is_one_line": [of_class(status=lambda self: "well\nvery well")],
    "target_names_the_experiment": [
        of_class(target=lambda self, e, d="x": Target(self.name, experiment=d))
    ],
    "target_needs_no_network": [of_class(target=asks)],
    "target_survives_the_journal": [
        of_class(target=lambda self, e, d="x": Target("memory", "http://me:pw@host/", e or d))
    ],
    "open_finds_the_run_it_created": [with_sink(open=makes_another)],
    "records_in_doubt_are_stored_once": [appending(looks=False)],
    "a_run_may_be_ended_twice": [with_sink(close=closes)],
    "a_step_is_amended": [with_sink(write=first_wins)],
    "two_runs_at_once": [with_sink(open=one_for_all)],
    "a_whole_run_arrives": [with_metrics(positive)],
    "every_answer_is_lost_once": [appending(looks=False)],
    "half_a_batch_is_stored": [appending(looks=False)],
    "a_new_sink_continues": [with_sink(open=makes_another)],
    "the_state_of_a_delivery_is_lost": [appending(looks=False), with_sink(open=makes_another)],
    "a_killed_training_has_failed": [with_history(lambda h: replace(h, state=State.FINISHED))],
    "a_run_is_continued_on_another_machine": [with_sink(open=goes_over), with_sink(upload=keeps)],
    "diagnoses_and_suggestions_are_kept": [with_sink(complete=lambda self, run: None)],
    "values_are_kept_to_the_last_bit": [
        with_metrics(narrow),
        with_metrics(lambda name, value: None if math.isnan(value) else (name, value)),
        with_metrics(lambda name, value: (name, min(value, sys.float_info.max))),
        with_metrics(lambda name, value: (name, value + 0.0)),
    ],
    "a_missing_value_differs_from_nan": [
        with_history(lambda h: replace(h, present=dict.fromkeys(h.metrics, h.steps >= 0))),
        with_history(lambda h: replace(h, present={n: ~np.isnan(v) for n, v in h.metrics.items()})),
    ],
    "arrays_have_their_types_and_shapes": [
        with_history(lambda h: replace(h, steps=h.steps.astype(np.int32))),
        with_history(lambda h: replace(h, metrics={n: v[:-1] for n, v in h.metrics.items()})),
    ],
    "times_are_kept": [
        with_records(lambda record: replace(record, time=float(int(record.time)))),
        with_history(lambda h: replace(h, ended=None)),
    ],
    "the_identity_of_a_run_is_kept": [
        with_run(schedule=lambda run: replace(run.schedule, params={})),
        with_run(config=lambda run: {**run.config, "inner": {}}),
        with_run(group=lambda run: None),
    ],
    "states_are_kept": [with_history(lambda h: replace(h, state=State.FINISHED))],
    "ids_are_those_of_tracked_runs": [with_history(lambda h: replace(h, remote_id="1"))],
    "the_newest_comes_first": [
        of_class(
            histories=lambda self, query, progress=None: reversed(
                list(MemoryTracker.histories(self, query, progress))
            )
        )
    ],
    "progress_is_reported": [
        of_class(histories=lambda self, query, progress=None: MemoryTracker.histories(self, query))
    ],
    "other_experiments_are_left_alone": [with_query(experiment=None)],
    "an_unknown_experiment_is_named": [with_query(experiment=None)],
    "filters": [
        of_class(
            histories=lambda self, query, progress=None: (
                [] if query.filters else MemoryTracker.histories(self, query, progress)
            )
        )
    ],
    "raw_filters": [with_query(raw_filters=())],
    "hostile_names": [with_run(group=lambda run: (run.group or "").replace("\n", " "))],
    "hostile_metrics": [with_metrics(lambda name, value: (name.replace(" ", "_"), value))],
    "a_training_is_read_back": [
        with_metrics(lambda name, value: (name, round(value, 6))),
        with_history(lambda h: replace(h, remote_id="1")),
    ],
    "a_training_that_flushes": [with_sink(write=first_wins)],
    "a_training_that_raises": [with_history(lambda h: replace(h, state=State.FINISHED))],
    "two_trainings_at_once": [with_run(prefix=lambda run: "")],
}  # fmt: skip
CASES = [(test, at) for test, broken in FAULTS.items() for at in range(len(broken))]


class Uncollected(TrackerContract):
    """The contract without pytest's collection: its tests are called one by one."""

    patience = 5.0

    def points(self, tracker: Tracker, remote_id: str) -> Mapping[str, Sequence[float]] | None:
        assert isinstance(tracker, Sinking)
        return tracker.points.get(remote_id)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Call a test of the contract on a tracker, inside of its fixture."""
    fixtures = []

    def run(test: str, tracker: Tracker) -> None:
        contract = Uncollected()
        place = inspect.unwrap(Uncollected.contract_place)  # the function below the fixture
        work = place(contract, tracker, tmp_path, monkeypatch)
        next(work)
        fixtures.append(work)
        method = getattr(contract, f"test_{test}")
        arguments = {"tracker": tracker, "tmp_path": tmp_path, "monkeypatch": monkeypatch}
        method(**{name: arguments[name] for name in inspect.signature(method).parameters})

    yield run
    for work in fixtures:
        next(work, None)


@pytest.mark.parametrize(("test", "at"), CASES)
def test_a_fault_is_found(call: Callable[..., None], test: str, at: int) -> None:
    """A tracker with a fault fails the test about it, with a message of what was expected."""
    with pytest.raises(AssertionError, match="expected"):
        call(test, FAULTS[test][at]())


@pytest.mark.parametrize("test", FAULTS)
def test_a_correct_tracker_passes(call: Callable[..., None], test: str) -> None:
    """A tracker without a fault passes the same tests."""
    try:
        call(test, appending(looks=True)())
    except pytest.skip.Exception:
        assert test == "a_portable_tracker_is_found_by_its_name"
