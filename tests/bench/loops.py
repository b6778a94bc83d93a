"""Measures the cost of tracking in the training loop, compared with common alternatives."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import fork_server
import processes
import ways
from processes import in_rounds
from results import Row, measured_row

#: Each part runs these, so that it also measures a loop against itself.
_BARE = ("bare", "bare-again")
_OWN = ("norm", "lrtrack", "lrtrack-server", "lrtrack-down", "lrtrack-nonorm",
        "lrtrack-norms-every", "lrtrack-updates", "lrtrack-wandb", "lrtrack-joined")  # fmt: skip
#: The most that a goal allows, by way.
_GOALS = {"lrtrack": 1.15, "lrtrack-server": 1.15}
#: Steps of a part for each 10,000 that are asked for. Rounds are worth more than steps, and the
#: alternatives are slow: their cost per step does not depend on the number of steps.
_SHARE = {"loops": 0.25, 10: 0.05, 100: 0.004, "peers": 0.04, "frameworks": 0.02}
#: What takes seconds to import, and counts in no figure.
_CLIENTS = ("mlflow", "wandb")

Rounds = list[dict[str, Any]]


def measure(rounds: int, steps: int) -> list[Row]:
    """Returns rows for lrtrack's own ways."""
    count = _count("loops", steps)
    with _runs() as runs:
        run = partial(runs.one, steps=count, milliseconds=1)
        return _own(in_rounds(rounds, (*_BARE, *_OWN), run), count)


def measure_peers(rounds: int, steps: int) -> list[Row]:
    """Returns rows for other ways to log by hand."""
    count = _count("peers", steps)
    there = [way for way in ways.BY_HAND if ways.installed(way)]
    with _runs() as runs:
        run = partial(runs.one, steps=count, milliseconds=1)
        rows = _beside(in_rounds(rounds, (*_BARE, "lrtrack", *there), run), there, count)
    absent = [way for way in ways.BY_HAND if way not in there]
    return rows + [
        Row(ways.loop_row(way)[1], "not measured",
            note=f"{ways.BY_HAND[way]} is not installed here")
        for way in absent
    ]  # fmt: skip


def measure_frameworks(rounds: int, steps: int) -> list[Row]:
    """Returns rows for what frameworks log, each compared with its own loop without logging."""
    count = _count("frameworks", steps)
    rows = []
    for name, words in ways.FRAMEWORKS.items():
        if not ways.has_framework(name):
            rows.append(Row(words, "not measured", note=f"{name} is not installed here"))
            continue
        each = tuple(f"{name}-{how}" for how in (*_BARE, "peer", "lrtrack"))
        with _runs(name) as runs:
            run = partial(runs.one, steps=count, milliseconds=1)
            rows += _framework(in_rounds(rounds, each, run), name, words, count)
    return rows


def measure_longer(rounds: int, steps: int) -> list[Row]:
    """Returns rows for longer steps, with fewer of them."""
    rows = []
    with _runs() as runs:
        for milliseconds in (10, 100):
            count = _count(milliseconds, steps)
            run = partial(runs.one, steps=count, milliseconds=milliseconds)
            found = in_rounds(rounds, (*_BARE, "lrtrack"), run)
            rows += _longer(found, milliseconds, count)
    return rows


def _count(part: str | int, steps: int) -> int:
    return max(1, round(_SHARE[part] * steps))


@contextmanager
def _runs(*modules: str) -> Iterator[_Runs]:
    with (
        tempfile.TemporaryDirectory() as folder,
        fork_server.running(modules) as server,
        fork_server.running((*modules, *_CLIENTS)) as with_clients,
    ):
        yield _Runs(processes.empty_store(Path(folder)), server, with_clients)


class _Runs:
    """Runs loops, each in its own process and directory.

    Args:
        store: an empty MLflow store, to be copied.
        server: forks for the loops of lrtrack, and for those that log nothing.
        with_clients: forks for those that log with a tracker's client, which it has imported.
    """

    def __init__(
        self, store: Path, server: fork_server.ForkServer, with_clients: fork_server.ForkServer
    ) -> None:
        self._store, self._server, self._with_clients = store, server, with_clients

    def one(self, way: str, steps: int, milliseconds: int) -> dict[str, Any]:
        """Runs one loop with one way of logging."""
        with processes.place() as folder:
            shutil.copy(self._store, folder / "mlflow.db")
            has_client = way.endswith("-peer") or ways.BY_HAND.get(way) in _CLIENTS
            server = self._with_clients if has_client else self._server
            run = partial(server.run, way, steps, milliseconds, folder)
            where = f"sqlite:///{folder / 'mlflow.db'}"
            if way == "lrtrack-down":
                where = f"http://127.0.0.1:{processes.free_port()}"
                found = run(MLFLOW_TRACKING_URI=where)
                processes.all_shipped(folder, 0.0)  # This process would otherwise stay for minutes.
                return found
            if way != "lrtrack-server":
                own = {"TRACKIO_DIR": str(folder), "SWANLAB_SAVE_DIR": str(folder)}
                return run(MLFLOW_TRACKING_URI=where, **own)
            with processes.mlflow_server(folder, where) as uri:
                return run(MLFLOW_TRACKING_URI=uri)


def ratios(rounds: Rounds, way: str, other: str) -> list[float]:
    """Returns the loop time of `way` divided by that of `other`, by round."""
    return [each[way]["loop"] / each[other]["loop"] for each in rounds]


def _middle(rounds: Rounds, way: str, figure: str) -> float:
    return statistics.median(each[way][figure] for each in rounds)


def _milliseconds(rounds: Rounds, way: str, steps: int) -> str:
    return f"{steps} steps of {_middle(rounds, way, 'loop') / steps * 1e3:.2f} ms"


def _noise(rounds: Rounds, prefix: str, how: str) -> Row:
    """Returns the row of a loop compared with itself: what these rounds cannot tell from 1."""
    found = ratios(rounds, f"{prefix}bare-again", f"{prefix}bare")
    place = f", in {prefix[:-1]}" if prefix else ""
    return measured_row(f"noise: the bare loop once more / the bare loop{place}", found, how=how)


def _own(rounds: Rounds, steps: int) -> list[Row]:
    how = f"{_milliseconds(rounds, 'bare', steps)}, one thread"
    rows = [_noise(rounds, "", how)]
    for way in _OWN:
        found = ratios(rounds, way, "bare")
        rows.append(measured_row(ways.loop_row(way)[1], found, _GOALS.get(way), how=how))
    for way in ("lrtrack", "lrtrack-server"):
        what = f"loop time / loop with the norm alone: {ways.WAYS[way]}"
        rows.append(measured_row(what, ratios(rounds, way, "norm"), 1.05))
    down = ratios(rounds, "lrtrack-down", "lrtrack-server")
    rows.append(measured_row("loop time: server down / server up", down, 1.05))
    extra = [(each["lrtrack"]["p999"] - each["bare"]["p999"]) * 1e3 for each in rounds]
    base = _middle(rounds, "bare", "p999") * 1e3
    how = f"99.9th percentile of steps, less the bare loop's ({base:.1f} ms) of the same round"
    rows.append(
        measured_row("p99.9 of a step's extra time", extra, 2, digits=2, unit="ms", how=how)
    )
    after = [each["lrtrack"]["after"] for each in rounds]
    how = f"{steps} steps × 3 metrics on SQLite; until the run is ended there"
    rows.append(measured_row("delivery after the block", after, 5, digits=1, unit="s", how=how))
    return rows


def _beside(rounds: Rounds, others: list[str], steps: int) -> list[Row]:
    how = _milliseconds(rounds, "bare", steps)
    rows = [
        _noise(rounds, "", how),
        measured_row(ways.IN_SAME_ROUNDS[1], ratios(rounds, "lrtrack", "bare"), how=how),
    ]
    for way in others:
        rows.append(measured_row(ways.loop_row(way)[1], ratios(rounds, way, "bare"), digits=2))
    for way in others:
        beside = ratios(rounds, "lrtrack", way)
        rows.append(measured_row(f"lrtrack / {ways.WAYS[way]}", beside, 1, digits=2))
    return rows


def _framework(rounds: Rounds, name: str, words: str, steps: int) -> list[Row]:
    bare = f"{name}-bare"
    how = _milliseconds(rounds, bare, steps)
    peer, own = (ratios(rounds, f"{name}-{each}", bare) for each in ("peer", "lrtrack"))
    beside = ratios(rounds, f"{name}-lrtrack", f"{name}-peer")
    return [
        _noise(rounds, f"{name}-", how),
        measured_row(ways.framework_row(name)[1], peer, digits=2, how=how),
        measured_row(ways.framework_row(name, "lrtrack")[1], own, how=how),
        measured_row(f"lrtrack in {name} / {words}", beside, 1, digits=2),
    ]


def _longer(rounds: Rounds, milliseconds: int, steps: int) -> list[Row]:
    how = _milliseconds(rounds, "bare", steps)
    noise, own = (ratios(rounds, way, "bare") for way in ("bare-again", "lrtrack"))
    length = f"steps of about {milliseconds} ms"
    return [
        measured_row(f"noise: the bare loop once more / the bare loop, {length}", noise, how=how),
        measured_row(f"loop time / bare: lrtrack, {length}", own, 1.02, how=how),
    ]
