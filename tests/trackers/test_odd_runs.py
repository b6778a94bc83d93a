"""Malformed runs and rows are skipped with a warning, and all other runs are read."""

from __future__ import annotations

import json
import math
import warnings
from itertools import chain
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wandb_loopback.state import HISTORY, Run

from lrtrack.comparing.reading import fetch
from lrtrack.errors import AccessRefused, LRTrackWarning, TrackerError, TrackerUnavailable
from lrtrack.records import History
from lrtrack.trackers import per_run
from lrtrack.trackers.base import Query
from lrtrack.trackers.memory import MemoryTracker
from lrtrack.trackers.mlflow import reading as mlflow_reading
from lrtrack.trackers.wandb import WandbTracker
from lrtrack.trackers.wandb import reading as wandb_reading

NUMBERS = st.one_of(
    st.integers(), st.floats(), st.sampled_from([10**25, 10**400, -1, 1e300, True, 2**63])
)
JSON = st.recursive(
    st.one_of(st.none(), NUMBERS, st.text(max_size=5), st.sampled_from(["NaN", "Infinity"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
CONFIG = {"run_id": "a", "started": 1.0, "seed": 1, "scheduler": {"name": "A", "spec": "{}"}}
ROW = {"_step": 0, "_timestamp": 1.0, "lrtrack/step": 0, "loss": 1.0, "lr": 0.1}


def wandb_run(**changes: Any) -> Any:
    """A run as W&B's client returns it."""
    fields = {
        "id": "a", "name": "first", "group": None, "state": "finished", "url": "http://x",
        "config": {"lrtrack": CONFIG, "depth": 3}, "summary_metrics": {"lrtrack/step": 0},
        "rows": [ROW], "files": lambda names: [],
    } | changes  # fmt: skip
    rows = fields.pop("rows")
    return SimpleNamespace(**fields, scan_history=lambda use_cache=False, keys=None: iter(rows))


def read_wandb(*runs: Any, metric: str | None = None) -> list[History]:
    """Read runs as the W&B reader does, without a server."""
    left_out = per_run.LeftOut()
    query = Query(experiment="p", metric=metric, cache=False)
    source = wandb_reading._Source(None, "http://127.0.0.1:1", query, "e/p", left_out)
    blocks = per_run.read_each(runs, source.histories, wandb_reading.label, left_out)
    return list(chain.from_iterable(blocks))


@given(
    st.sampled_from(["name", "group", "state", "url", "config", "summary_metrics", "id"])
    | st.sampled_from([*CONFIG, "device", "optimizer", "tags", "diagnoses", "suggestion", "prefix"])
    | st.sampled_from(list(ROW)),
    JSON,
)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_anything_in_place_of_a_field_of_a_wandb_run(name: str, value: Any) -> None:
    """A run with any value in any field is read or named in a warning; others are read."""
    if name in ROW:
        odd = wandb_run(rows=[{**ROW, name: value}])
    elif name in ("name", "group", "state", "url", "config", "summary_metrics", "id"):
        odd = wandb_run(**{name: value})
    else:
        odd = wandb_run(config={"lrtrack": {**CONFIG, name: value}})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        histories = read_wandb(odd, wandb_run(id="b"), metric="loss")

    assert "b" in [history.remote_id for history in histories]
    assert len(histories) == 2 or len(caught) == 1
    for history in histories:
        json.dumps(history.run.to_dict())


@given(st.dictionaries(st.text(), st.text(), max_size=3), st.integers(), st.integers())
@settings(max_examples=80, deadline=None)
def test_anything_in_an_mlflow_run(texts: dict[str, str], started: int, ended: int) -> None:
    """Reports can show the identity of an MLflow run with any tags, params and times."""
    keys = ("seed", "lrtrack.world_size", "lrtrack.scheduler.spec", "lrtrack.diagnoses")
    tags = texts | dict(zip(keys, texts.values(), strict=False))
    info = SimpleNamespace(run_id="a", run_name=None, start_time=started, end_time=ended)
    mlflow_run = SimpleNamespace(info=info, data=SimpleNamespace(tags=tags, params=tags))
    run = mlflow_reading.runs_from(mlflow_run, "x")[0]

    assert 0 <= run.started < 1e11
    assert run.schedule.id
    assert run.seed is None or abs(run.seed) < 2**63


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("lrtrack/step", value) for value in (math.nan, math.inf, 1e300, 10**25, -1, 0.5, "7")],
        *[("_timestamp", value) for value in ("yesterday", [1], {"a": 1}, 1e300, math.nan)],
    ],
)
def test_a_malformed_row_is_skipped(field: str, value: Any) -> None:
    """A malformed row is skipped, with a warning that names the run and the reason."""
    rows = [ROW, {**ROW, "lrtrack/step": 1}, {**ROW, "lrtrack/step": 2, field: value}]
    with pytest.warns(LRTrackWarning, match=f"a row of 'first' \\(a\\): {field} is ") as caught:
        (history,) = read_wandb(wandb_run(rows=rows))

    assert history.steps.tolist() == [0, 1]
    assert len(caught) == 1


def test_many_odd_runs_are_one_warning() -> None:
    """One warning names the first few malformed runs and counts the others."""
    odd = [wandb_run(id=f"odd{at}", state={"a": 1}) for at in range(9)]
    with pytest.warns(LRTrackWarning, match="Left out 9 runs .*odd0.*odd2.*and 6 more") as caught:
        histories = read_wandb(*odd, wandb_run(id="b"))

    assert [history.remote_id for history in histories] == ["b"]
    assert len(caught) == 1


def test_an_error_of_the_tracker_ends_the_reading() -> None:
    """A server that is down, or refuses the key or every run, is an error."""

    def fails(error: Exception) -> Any:
        def read(run: str) -> str:
            if run == "a" or not isinstance(error, TrackerUnavailable | AccessRefused):
                raise error
            return run

        return lambda: list(per_run.read_each(["b", "a"], read, str, per_run.LeftOut()))

    for error in (TrackerUnavailable("away"), AccessRefused("key"), TrackerError("no")):
        with pytest.raises(type(error), match=str(error)):
            fails(error)()


def test_runs_are_read_a_few_ahead() -> None:
    """Only a few runs are read before the first one is used."""
    begun: list[int] = []
    left_out = per_run.LeftOut()
    histories = per_run.read_each(
        range(1000), lambda at: begun.append(at) or at, str, left_out, workers=2
    )
    first = next(histories)
    count = len(begun)
    rest = list(histories)

    assert (first, rest) == (0, list(range(1, 1000)))
    assert count <= 9


class Odd(MemoryTracker):
    """A third-party tracker that returns something else than a history, and then fails."""

    name = "odd"

    def __init__(self, fails: bool) -> None:
        super().__init__()
        self.fails = fails

    def histories(self, query: Query, progress: Any = None) -> Any:
        """Yield something else, then a history."""
        yield {"not": "a history"}
        yield from read_wandb(wandb_run())
        if self.fails:
            raise KeyError("lost")


def test_trackers_of_third_parties(clean_place) -> None:
    """What is no history is skipped, and an error in a third-party tracker is reported."""
    with pytest.warns(LRTrackWarning, match="Left out a run that cannot be read"):
        histories = fetch("p", tracker=Odd(fails=False))

    assert [history.remote_id for history in histories] == ["a"]
    with pytest.raises(TrackerError, match="tracker 'odd' failed to read its runs: KeyError"):
        fetch("p", tracker=Odd(fails=True))


def test_odd_runs_on_a_real_server(wandb_server) -> None:
    """Runs that W&B's client cannot read, and one deleted meanwhile, are skipped."""
    project = wandb_server.store.made_project("tester", "p")
    odd: dict[str, dict[str, Any]] = {
        "good": {}, "gone": {}, "list": {"summary": [1]}, "text": {"raw_config": "x"},
        "state": {"state": {"a": 1}},
    }  # fmt: skip
    for run_id, changes in odd.items():
        run = Run("tester", "p", run_id, display_name=run_id, state="finished")
        run.raw_config = {"lrtrack": {"value": {**CONFIG, "run_id": run_id}}}
        run.lines(HISTORY).write(0, [json.dumps(ROW)])
        vars(run).update(changes)
        project.runs[run_id] = run

    def delete(method: str, path: str, body: str) -> None:
        if "RunHistoryKeys" in body:  # asked after all runs are listed
            project.runs.pop("gone", None)

    wandb_server.fault = delete
    with pytest.warns(LRTrackWarning, match="Left out 3 runs") as caught:
        histories = list(WandbTracker().histories(Query(experiment="p", cache=False)))

    assert [history.remote_id for history in histories] == ["good"]
    assert all(f"({name})" in str(caught[0].message) for name in ("gone", "list", "state"))
