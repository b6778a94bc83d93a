"""What a report says about the runs it compares."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lrtrack.records import History, State
from lrtrack.reports.parameters import of_runs, of_schedules
from lrtrack.reports.setup import Fact, facts_of
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories

CONSTANT, FAST, SLOW = (
    Schedule("constant"),
    Schedule("StepLR", {"step_size": 10, "gamma": 0.1}),
    Schedule("StepLR", {"step_size": 30, "gamma": 0.1}),
)
#: 2026-11-27, 18:54 UTC.
START = 1795805640.0


def facts(*histories: History, **options: Any) -> dict[str, tuple[str, ...]]:
    """The facts about some runs, by their terms, without what is folded away."""
    comparison = compare_histories(list(histories), experiment="e", metric="loss", **options)
    return {fact.term: fact.items for fact in facts_of(comparison)}


def known(history: History, *, ended: float | None = None, **fields: Any) -> History:
    """A run about which more is known."""
    return replace(history, run=replace(history.run, **fields), ended=ended)


def test_what_was_compared(run_of):
    """The facts are how many runs there are, when and with what they were made, what they share and
    in what they differ.
    """
    device = {"device_type": "cuda", "device_name": "H200", "version": "0.1.0"}
    optimizer = {"name": "SGD", "lr": 0.1, "momentum": 0.9, "nesterov": False}
    histories = [
        known(
            run_of(schedule, seed, loss=[1.0, 0.5 + at], config={"batch": batch, "epochs": 3}),
            started=START + 60 * at, ended=START + 60 * at + 90, torch_version="2.9.1",
            optimizer=optimizer, **device,
        )
        for at, (schedule, seed, batch) in enumerate(
            [(CONSTANT, 0, 32), (FAST, 0, 32), (FAST, 1, 64), (SLOW, 0, 64)]
        )
    ]  # fmt: skip

    assert facts(*histories) == {
        "runs": ("4, 1 to 2 of each schedule",),
        "recorded": ("2026-11-27, 18:54 to 18:58 UTC",),
        "software": ("lrtrack 0.1.0", "torch 2.9.1"),
        "device": ("H200 (cuda)",),
        "common setup": ("SGD", "lr 0.1", "epochs 3", "momentum 0.9", "nesterov false"),
        "what differs": (
            "schedule: constant and StepLR", "batch: 32, 64", "StepLR step_size: 10, 30",
        ),
    }  # fmt: skip


def test_what_is_not_known_is_not_claimed(run_of):
    """Runs of unknown age, software and device have no such facts; only seeds differ."""
    runs = [run_of(CONSTANT, seed, loss=[1.0, seed]) for seed in range(2)]

    assert facts(*runs) == {"runs": ("2, 2 of each schedule",), "device": ("cpu",),
                            "what differs": ("only the seed",)}  # fmt: skip


def test_versions_and_devices_that_differ_are_counted(run_of):
    """Each version has the number of its runs, and those that lack one are named."""
    runs = [run_of(CONSTANT, seed, loss=[1.0]) for seed in range(3)]
    runs = [known(run, version="0.1.0") for run in runs]
    runs[0] = known(runs[0], torch_version="2.9.1", device_name="Ada", world_size=4)
    mixed = facts(*runs)
    without = facts(*runs[1:])

    assert mixed["software"] == ("lrtrack 0.1.0", "torch unknown (2 runs)", "torch 2.9.1 (1 run)")
    assert mixed["device"] == ("cpu (2 runs)", "Ada (cpu), 4 processes (1 run)")
    assert without["software"] == ("lrtrack 0.1.0", "torch not recorded")


@pytest.mark.parametrize(
    ("started", "ended", "text"),
    [
        (START, START + 30, "2026-11-27, 18:54 UTC"),
        (START, START + 200_000, "2026-11-27 to 2026-11-30"),
        (START, None, "2026-11-27, 18:54 UTC"),
        (1e300, None, None),
        (-5.0, None, None),
    ],
)
def test_dates(run_of, started, ended, text):
    """Days or minutes are as exact as the runs are far apart; impossible times are left out."""
    run = known(run_of(CONSTANT, 0, loss=[1.0]), started=started, ended=ended)

    assert facts(run).get("recorded") == (None if text is None else (text,))


def test_states_and_divergence_are_counted(run_of):
    """Runs that failed, still run, or diverged are counted."""
    runs = [
        run_of(CONSTANT, 0, loss=[1.0]),
        run_of(CONSTANT, 1, loss=[1.0, float("nan")]),
        run_of(CONSTANT, 2, loss=[1.0], state=State.FAILED),
        run_of(CONSTANT, 3, loss=[1.0], state=State.RUNNING),
    ]

    assert facts(*runs)["runs"] == ("4, 4 of each schedule", "1 diverged", "1 failed", "1 running")


def test_many_settings_are_folded(run_of):
    """Six settings are shown, the others come later, and a single one more is shown at once."""

    def common(number: int) -> Fact:
        config = {f"k{index}": "x" * 50 for index in range(number)}
        run = run_of(CONSTANT, 0, loss=[1.0], config=config)
        comparison = compare_histories([run], experiment="e", metric="loss")
        return next(fact for fact in facts_of(comparison) if fact.term == "common setup")

    assert [len(part) for part in (common(7).items, common(7).more)] == [7, 0]
    assert [len(part) for part in (common(8).items, common(8).more)] == [6, 2]
    assert common(1).items == (f"k0 {'x' * 39}…",)


def test_whole_numbers_are_one_value_however_they_are_written(run_of):
    """A setting that is 0 in one run and 0.0 in another is shared."""
    runs = [
        run_of(CONSTANT, seed, loss=[1.0], config={"decay": decay})
        for seed, decay in enumerate((0, 0.0))
    ]

    assert facts(*runs)["common setup"] == ("decay 0",)


def test_parameters_are_columns(run_of):
    """Schedules have a column for each parameter, runs also for each setting that differs."""
    runs = [
        run_of(schedule, 0, loss=[1.0 + at], config={"batch": 32 + at, "epochs": 3})
        for at, schedule in enumerate((CONSTANT, FAST, SLOW))
    ]
    comparison = compare_histories(runs, experiment="e", metric="loss")
    schedules, single = of_schedules(comparison), of_runs(comparison)

    assert schedules.titles == ("step_size", "gamma")
    assert schedules.rows == (("–", "–"), ("10", "0.1"), ("30", "0.1"))
    assert schedules.numbers == (True, True)
    assert single.titles == ("config.batch", "step_size", "gamma")
    assert single.rows[2] == ("34", "30", "0.1")


def test_columns_of_parameters_are_limited(run_of):
    """A run with hundreds of parameters gets forty columns, of short text."""
    schedule = Schedule("Odd", {f"p{index:03}": "\x1b[31m" + "x" * 200 for index in range(300)})
    comparison = compare_histories([run_of(schedule, 0, loss=[1.0])], experiment="e", metric="loss")
    parameters = of_schedules(comparison)

    assert len(parameters.titles) == 40
    assert len(parameters.rows[0][0]) == 80
    assert "\x1b" not in parameters.rows[0][0]
