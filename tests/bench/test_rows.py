"""The rows that parts of the benchmark make of what their rounds give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

Import = Callable[[str], Any]
TEN = [1.0, 1.1, 1.2, 1.3, 1.4, 1.6, 1.7, 1.8, 1.9, 2.0]


def cells(rows: Any) -> list[tuple[str, str, str, str]]:
    """Returns figure, interval, goal and verdict of each row."""
    return [(row.measured, row.interval, row.reach, row.verdict) for row in rows]


def test_the_rows_of_the_first_run(benchmark_module: Import) -> None:
    """The first block is compared within a round, and the second one stands alone."""
    first = benchmark_module("first")
    rounds = [
        {"lrtrack": {"seconds": 5 + late, "second": late / 10},
         "mlflow": {"seconds": 5.0, "second": 0.4}}
        for late in TEN
    ]  # fmt: skip
    rows = first._rows("a new store", "lrtrack", "mlflow", rounds)

    assert cells(rows) == [
        ("+1.5 s", "+1.1 to +1.9", "≤ +1 s", "missed"),
        ("0.15 s", "0.11–0.19", "≤ 0.2 s", "reached"),
    ]
    assert rows[0].note == (
        "lrtrack into MLflow: 6.5 s, MLflow's `start_run` … `end_run` with `log_metrics` at each "
        "step: 5.0 s, with Python's start and imports; 10 rounds, +1.0 to +2.0"
    )
    assert rows[1].note == "the other way: 0.40 s; 10 rounds, 0.10 to 0.20"


def test_the_rows_of_the_training_thread(benchmark_module: Import) -> None:
    """Each way has its own row, and what `norms_every` saves is taken within a round."""
    thread = benchmark_module("thread")
    found = {"off": [4.0] * 10, "norm": [14.0] * 10, "some": [5.5] * 10,
             "updates": [15.0] * 10, "each": [40.0] * 10}  # fmt: skip
    rows = thread._rows(found)

    assert cells(rows) == [
        ("4.0 µs a step", "4.0–4.0", "≤ 10 µs a step", "reached"),
        ("14.0 µs a step", "14.0–14.0", "", ""),
        ("5.5 µs a step", "5.5–5.5", "", ""),
        ("15.0 µs a step", "15.0–15.0", "", ""),
        ("40.0 µs a step", "40.0–40.0", "", ""),
        ("0.85", "0.85–0.85", "", ""),
    ]


def test_the_row_of_a_command(benchmark_module: Import) -> None:
    """A command has its ratio in each round, and the seconds of both sides."""
    commands = benchmark_module("commands")
    command = commands.Command("`lrtrack runs`", ("runs",), 0.25)
    row = commands._row(command, [(each / 5, 2.0) for each in TEN])

    assert cells([row]) == [("0.15", "0.11–0.19", "≤ 0.25", "reached")]
    assert row.note == ("0.30 s and 2.00 s of processor time; 10 rounds, 0.10 to 0.20")


def test_the_row_of_a_mistake(benchmark_module: Import) -> None:
    """A mistake has the seconds until its report, and the steps beside them."""
    reporting = benchmark_module("reporting")
    row = reporting._row("it diverges", TEN, [10] * 5 + [20] * 5)

    assert cells([row]) == [("1.50 s", "1.10–1.90", "", "")]
    assert row.note.startswith("15 steps of 10 ms, at most 20, from the step")


def test_the_rows_of_reading(benchmark_module: Import) -> None:
    """Reading has the goals of cold and warm, and the ratio to single reads in each round."""
    reading = benchmark_module("reading")
    rounds = [
        {"cold": each, "first": 3.0, "warm": 1.6, "again": 0.3, "single": 30 * each} for each in TEN
    ]
    rows = reading._rows("SQLite", 2.0, 10_000, rounds)

    assert cells(rows) == [
        ("1.50 s", "1.10–1.90", "≤ 2 s", "reached"),
        ("0.30 s", "0.30–0.30", "≤ 1.5 s", "reached"),
        ("1.60 s", "1.60–1.60", "≤ 1.5 s", "missed"),
        ("30.0×", "30.0–30.0", "≥ 20×", "reached"),
    ]
    logged = reading._logged_rows("SQLite", 4.0, 10_000, rounds[:1])
    assert cells(logged) == [
        ("1.00 s", "", "", ""),
        ("30.0×", "", "≥ 4×", "reached within noise"),
    ]
    assert logged[0].note.endswith("one run, without an interval")


def test_the_rows_of_reading_from_wandb(benchmark_module: Import) -> None:
    """Where the tracker's own client is listed with, its seconds are named, and nothing single."""
    reading = benchmark_module("reading")
    rounds = [{"cold": 1.0, "first": 1.0, "warm": 1.0, "again": 1.0, "floor": 0.7}] * 10
    rows = reading._rows("W&B", 2.0, 10_000, rounds)

    assert len(rows) == 3
    assert "listing the runs with it takes 0.7 s; 10 rounds" in rows[2].note


def test_the_rows_of_many_runs(benchmark_module: Import) -> None:
    """Three rounds have no interval, and the growth is taken within a round."""
    reading = benchmark_module("reading")
    few = [SimpleNamespace(seconds=2.0, memory=3e8)] * 3
    many = [SimpleNamespace(seconds=each, memory=5e8) for each in (12.0, 14.0, 13.0)]

    assert cells(reading._many_rows(100_000, few, many, 9.0)) == [
        ("13.0 s", "", "≤ 15 s", "reached within noise"),
        ("0.50 GB", "", "≤ 0.6 GB", "reached within noise"),
        ("6.5×", "", "≤ 12×", "reached within noise"),
    ]


def test_the_rows_of_delivery(benchmark_module: Import) -> None:
    """The shipper's speed is compared within a round; W&B's rows are counted."""
    shipping = benchmark_module("shipping")
    row = shipping._row("SQLite", 5000, [{"ours": 2.0, "raw": each} for each in TEN])
    count, processor = shipping._chart_rows(
        [{"all": {"rows": 60_000, "cpu": 12.0}, "thin": {"rows": 2000, "cpu": 3.0}}] * 10
    )

    assert cells([row]) == [("0.75", "0.55–0.95", "≥ 0.9", "missed")]
    assert row.note == (
        "7,500 against 10,000 points a second; 15,000 points; 10 rounds, 0.50 to 1.00"
    )
    assert (count.measured, count.reached) == ("2,000 / 60,000", True)
    assert cells([processor]) == [("0.25", "0.25–0.25", "", "")]


def test_each_loop_time_is_found(
    benchmark_module: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table of what arrives finds each loop time among the rows that the loops make."""
    circumstances = benchmark_module("circumstances")
    for name in ("machine", "versions", "commit"):
        monkeypatch.setattr(circumstances, name, str)
    peers, loops = benchmark_module("peers"), benchmark_module("loops")
    results, ways = benchmark_module("results"), benchmark_module("ways")
    by_way = {way: {"loop": 1.0} for way in ("bare", "bare-again", "lrtrack", *ways.BY_HAND)}
    rows = {"peers": loops._beside([by_way] * 10, [*ways.BY_HAND], 1000), "frameworks": []}
    for name, words in ways.FRAMEWORKS.items():
        each = {f"{name}-{how}": {"loop": 1.0}
                for how in ("bare", "bare-again", "peer", "lrtrack")}  # fmt: skip
        rows["frameworks"] += loops._framework([each] * 10, name, words, 1000)
    run = results.begin(tmp_path, whole=False, rounds=10)
    for part, found in rows.items():
        run.keep(part, part, found, {})
    costs = [peers._cost(way, tmp_path) for way in peers._COSTS]

    assert [cost for cost in costs if cost == "not measured"] == []
    assert peers._cost("dvclive", tmp_path) == "not measured"


@pytest.mark.parametrize("part", ["commands", "reading", "thread", "many", "loops"])
def test_the_sentences_of_the_page_name_rows(benchmark_module: Import, part: str) -> None:
    """Each sentence of docs/benchmarks.md takes its figure from a row that the part makes."""
    pages, reading = benchmark_module("pages"), benchmark_module("reading")
    loops, commands = benchmark_module("loops"), benchmark_module("commands")
    seconds = {"cold": 1.0, "first": 1.0, "warm": 1.0, "again": 1.0, "single": 1.0}
    times = {"loop": 1.0, "after": 1.0, "p999": 1.0}
    done = [SimpleNamespace(seconds=1.0, memory=1.0)]
    thread = {way: [1.0] for way in ("off", "norm", "some", "updates", "each")}
    thread["off"] = [0.5]
    rows = {
        "commands": lambda: [commands._row(each, [(1.0, 2.0)]) for each in commands.COMMANDS],
        "reading": lambda: [
            row for name in ("SQLite", "`mlflow server` on PostgreSQL")
            for row in reading._rows(name, 2.0, 10_000, [seconds])
        ],
        "thread": lambda: benchmark_module("thread")._rows(thread),
        "many": lambda: reading._many_rows(100_000, done, done, 1.0),
        "loops": lambda: loops._own(
            [dict.fromkeys(("bare", "bare-again", *loops._OWN), times)], 1000
        ),
    }  # fmt: skip
    made = {row.what for row in rows[part]()}

    assert [what for name, what, _ in pages._SENTENCES if name == part and what not in made] == []
