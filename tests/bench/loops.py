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

import frameworks
import loop
import processes
from processes import in_rounds
from results import Row

HERE = Path(__file__).parent
_OWN = ("bare", "norm", "lrtrack", "lrtrack-server", "lrtrack-down", "lrtrack-nonorm",
        "lrtrack-norms-every", "lrtrack-updates", "lrtrack-updates-each", "lrtrack-wandb",
        "lrtrack-joined")  # fmt: skip
_PEERS = ("mlflow", "mlflow-async", "wandb", "wandb-watch")
#: Alternatives are slow, so they run fewer steps; their cost per step is constant.
_FEWER = 5

Rounds = list[dict[str, Any]]


def measure(rounds: int, steps: int) -> list[Row]:
    """Returns rows for lrtrack's own ways."""
    with _runs() as runs:
        return _own(in_rounds(rounds, _OWN, lambda way: runs.one(way, steps, 1)), steps)


def measure_peers(rounds: int, steps: int) -> list[Row]:
    """Returns rows for other ways to log, by hand and in frameworks."""
    few = steps // _FEWER
    with _runs() as runs:
        ways = ("bare", "lrtrack", *_PEERS)
        rows = _beside(in_rounds(rounds, ways, lambda way: runs.one(way, few, 1)), few)
        for name, words in frameworks.WAYS.items():
            ways = tuple(f"{name}-{how}" for how in ("bare", "peer", "lrtrack"))
            found = in_rounds(rounds, ways, lambda way: runs.one(way, few, 1))
            rows.append(_framework(found, name, words, few))
    return rows


def measure_longer(rounds: int, steps: int) -> list[Row]:
    """Returns rows for longer steps, with fewer of them."""
    rows = []
    with _runs() as runs:
        for milliseconds, count in ((10, 3 * steps // 10), (100, 3 * steps // 100)):
            run = partial(runs.one, steps=count, milliseconds=milliseconds)
            rows.append(_longer(in_rounds(rounds, ("bare", "lrtrack"), run), milliseconds, count))
    return rows


@contextmanager
def _runs() -> Iterator[_Runs]:
    with tempfile.TemporaryDirectory() as folder:
        yield _Runs(processes.empty_store(Path(folder)))


class _Runs:
    """Runs loops, each in its own process and directory."""

    def __init__(self, store: Path) -> None:
        self._store = store

    def one(self, way: str, steps: int, milliseconds: int) -> dict[str, Any]:
        """Runs one loop with one way of logging."""
        with processes.place() as folder:
            shutil.copy(self._store, folder / "mlflow.db")
            where = f"sqlite:///{folder / 'mlflow.db'}"
            told = (HERE / "loop.py", way, steps, milliseconds)
            if way == "lrtrack-down":
                where = f"http://127.0.0.1:{processes.free_port()}"
                done = processes.python(*told, folder=folder, MLFLOW_TRACKING_URI=where)
                processes.all_shipped(folder, 0.0)  # This process would otherwise stay for minutes.
                return done.found
            if way != "lrtrack-server":
                done = processes.python(*told, folder=folder, MLFLOW_TRACKING_URI=where)
                return done.found
            with processes.mlflow_server(folder, where) as uri:
                return processes.python(*told, folder=folder, MLFLOW_TRACKING_URI=uri).found


def ratio(rounds: Rounds, way: str, other: str) -> float:
    """Returns the median over rounds of the loop time of `way` divided by that of `other`."""
    return statistics.median(each[way]["loop"] / each[other]["loop"] for each in rounds)


def _middle(rounds: Rounds, way: str, figure: str) -> float:
    return statistics.median(each[way][figure] for each in rounds)


def _spread(rounds: Rounds, way: str, other: str) -> str:
    found = [each[way]["loop"] / each[other]["loop"] for each in rounds]
    return f"{len(rounds)} rounds, from {min(found):.3f} to {max(found):.3f}"


def _own(rounds: Rounds, steps: int) -> list[Row]:
    bare = _middle(rounds, "bare", "loop") / steps * 1e3
    how = f"{steps} steps of {bare:.2f} ms, one thread"
    rows = []
    for way in _OWN[1:]:
        found = ratio(rounds, way, "bare")
        promised = way in ("lrtrack", "lrtrack-server")
        rows.append(
            Row(
                f"loop time / bare: {loop.WAYS[way]}",
                f"{found:.3f}",
                "≤ 1.15" * promised,
                found <= 1.15 if promised else None,
                f"{how}; {_spread(rounds, way, 'bare')}",
            )
        )
    for way in ("lrtrack", "lrtrack-server"):
        found = ratio(rounds, way, "norm")
        note = _spread(rounds, way, "norm")
        what = f"loop time / loop with the norm alone: {loop.WAYS[way]}"
        rows.append(Row(what, f"{found:.3f}", "≤ 1.05", found <= 1.05, note))
    found = ratio(rounds, "lrtrack-down", "lrtrack-server")
    note = _spread(rounds, "lrtrack-down", "lrtrack-server")
    rows.append(
        Row("loop time: server down / server up", f"{found:.3f}", "≤ 1.05", found <= 1.05, note)
    )
    extra = statistics.median(each["lrtrack"]["p999"] - each["bare"]["p999"] for each in rounds)
    base = _middle(rounds, "bare", "p999") * 1e3
    note = f"99.9th percentile of steps, less the bare loop's ({base:.1f} ms) of the same round"
    rows.append(
        Row("p99.9 of a step's extra time", f"{extra * 1e3:.2f} ms", "≤ 2 ms", extra <= 2e-3, note)
    )
    after = _middle(rounds, "lrtrack", "after")
    note = f"{steps} steps × 3 metrics on SQLite; until the run is ended there"
    rows.append(Row("delivery after the block", f"{after:.1f} s", "≤ 5 s", after <= 5.0, note))
    return rows


def _beside(rounds: Rounds, steps: int) -> list[Row]:
    own = ratio(rounds, "lrtrack", "bare")
    rows = [Row("lrtrack in the same rounds", f"{own:.3f}", note=f"{steps} steps")]
    for way in _PEERS:
        found = ratio(rounds, way, "bare")
        rows.append(
            Row(
                f"loop time / bare: {loop.WAYS[way]}",
                f"{found:.2f}",
                "more than lrtrack",
                found > own,
                _spread(rounds, way, "bare"),
            )
        )
    return rows


def _framework(rounds: Rounds, name: str, words: str, steps: int) -> Row:
    peer, own = (ratio(rounds, f"{name}-{how}", f"{name}-bare") for how in ("peer", "lrtrack"))
    bare = _middle(rounds, f"{name}-bare", "loop") / steps * 1e3
    return Row(
        f"loop time / the same without logging: {words}",
        f"{peer:.2f}, lrtrack there {own:.3f}",
        "more than lrtrack",
        peer > own,
        f"{steps} steps of {bare:.2f} ms; {_spread(rounds, f'{name}-peer', f'{name}-bare')}",
    )


def _longer(rounds: Rounds, milliseconds: int, steps: int) -> Row:
    found = ratio(rounds, "lrtrack", "bare")
    bare = _middle(rounds, "bare", "loop") / steps * 1e3
    return Row(
        f"loop time / bare: lrtrack, steps of about {milliseconds} ms",
        f"{found:.3f}",
        "≤ 1.02",
        found <= 1.02,
        f"{steps} steps of {bare:.1f} ms; {_spread(rounds, 'lrtrack', 'bare')}",
    )
