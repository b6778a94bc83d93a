"""The rows that the benchmark makes of the loop times of its rounds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def loops(benchmark_module: Callable[[str], Any]) -> Any:
    """The benchmark's module of loops."""
    return benchmark_module("loops")


def rounds_of(times: dict[str, float], count: int = 10) -> Any:
    """Returns rounds in which each way takes so many seconds, and half of them afterwards."""
    return [
        {way: {"loop": took, "after": took / 2, "p999": took / 1000} for way, took in times.items()}
    ] * count


def test_the_rows_of_own_ways(loops: Any) -> None:
    """The own ways have the noise first, a row for each way, and the goals of some of them."""
    times = dict.fromkeys(("bare", "bare-again", *loops._OWN), 2.0)
    times |= {"lrtrack": 2.1, "lrtrack-server": 2.4, "lrtrack-down": 2.4, "norm": 2.1}
    rows = loops._own(rounds_of(times), 1000)
    found = {row.what: (row.measured, row.interval, row.reach, row.verdict) for row in rows}

    assert rows[0].what == "noise: the bare loop once more / the bare loop"
    assert rows[0].note == "1000 steps of 2.00 ms, one thread; 10 rounds, 1.000 to 1.000"
    assert len(rows) == 1 + len(loops._OWN) + 2 + 3
    into = "lrtrack, into MLflow on SQLite"
    server = "lrtrack, into `mlflow server` on SQLite"
    alone = "loop time / loop with the norm alone"
    expected = {
        f"loop time / bare: {into}": ("1.050", "1.050–1.050", "≤ 1.15", "reached"),
        f"loop time / bare: {server}": ("1.200", "1.200–1.200", "≤ 1.15", "missed"),
        f"{alone}: {into}": ("1.000", "1.000–1.000", "≤ 1.05", "reached"),
        f"{alone}: {server}": ("1.143", "1.143–1.143", "≤ 1.05", "missed"),
        "loop time: server down / server up": ("1.000", "1.000–1.000", "≤ 1.05", "reached"),
        "p99.9 of a step's extra time": ("0.10 ms", "0.10–0.10", "≤ 2 ms", "reached"),
        "delivery after the block": ("1.1 s", "1.1–1.1", "≤ 5 s", "reached"),
    }
    assert {what: found[what] for what in expected} == expected


def test_the_rows_of_ways_by_hand(loops: Any) -> None:
    """Each way by hand is compared with the bare loop, and lrtrack with it in the same rounds."""
    times = {"bare": 1.0, "bare-again": 1.1, "lrtrack": 1.05, "mlflow": 4.2, "aim": 1.0}
    rows = loops._beside(rounds_of(times), ["mlflow", "aim"], 1000)

    assert [(row.what, row.measured, row.verdict) for row in rows] == [
        ("noise: the bare loop once more / the bare loop", "1.100", ""),
        ("lrtrack in the same rounds", "1.050", ""),
        ("loop time / bare: `mlflow.log_metrics` each step", "4.20", ""),
        ("loop time / bare: Aim's `Run.track` each step", "1.00", ""),
        ("lrtrack / `mlflow.log_metrics` each step", "0.25", "reached"),
        ("lrtrack / Aim's `Run.track` each step", "1.05", "missed"),
    ]


def test_the_rows_of_a_framework(loops: Any) -> None:
    """A framework has its own noise, its own way to log, and lrtrack in it."""
    times = {"lightning-bare": 2.0, "lightning-bare-again": 2.0, "lightning-peer": 16.0,
             "lightning-lrtrack": 2.2}  # fmt: skip
    rows = loops._framework(rounds_of(times), "lightning", "its own", 1000)

    assert [(row.what.partition(": ")[2] or row.what, row.measured) for row in rows] == [
        ("the bare loop once more / the bare loop, in lightning", "1.000"),
        (loops.ways.FRAMEWORKS["lightning"], "8.00"),
        ("lrtrack in lightning", "1.100"),
        ("lrtrack in lightning / its own", "0.14"),
    ]
    assert rows[-1].verdict == "reached"


def test_the_rows_of_longer_steps(loops: Any) -> None:
    """Longer steps have their own noise and goal."""
    times = {"bare": 1.0, "bare-again": 0.99, "lrtrack": 1.03}
    noise, ratio = loops._longer(rounds_of(times), 10, 100)

    assert (noise.measured, ratio.measured, ratio.verdict) == ("0.990", "1.030", "missed")
    assert ratio.note == "100 steps of 10.00 ms; 10 rounds, 1.030 to 1.030"


def test_a_way_that_is_not_installed_is_named(loops: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is missing here has a row that says so, and is not run."""
    monkeypatch.setattr(loops.ways, "installed", lambda way: way == "mlflow")
    nothing = SimpleNamespace(one=dict)
    monkeypatch.setattr(loops, "_runs", lambda: nullcontext(nothing))
    asked: list[tuple[str, ...]] = []

    def rounds(count: int, ways: tuple[str, ...], run: Any) -> Any:
        asked.append(ways)
        return rounds_of(dict.fromkeys(ways, 1.0), count)

    monkeypatch.setattr(loops, "in_rounds", rounds)
    rows = loops.measure_peers(10, 1000)

    assert asked == [("bare", "bare-again", "lrtrack", "mlflow")]
    assert [row.note for row in rows if row.measured == "not measured"][-2:] == [
        "swanlab is not installed here",
        "aim is not installed here",
    ]
