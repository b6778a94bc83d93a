"""Comparisons built from histories."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrtrack.errors import NothingFound, UsageError
from lrtrack.records import State
from lrtrack.schedules import Schedule
from lrtrack.stats import Reach, compare_histories

STEP = Schedule("StepLR", {"step_size": 30})
WIDE = Schedule("StepLR", {"step_size": 60})
CYCLE = Schedule("OneCycleLR", {"max_lr": 0.1})


@pytest.fixture(scope="session")
def runs_of(make_history):
    """Builds one single-step run per loss, with seeds from 0."""

    def make(schedule, losses, metric="loss", **fields):
        return [
            make_history(
                {metric: [loss], "lr": [0.1]},
                schedule=schedule,
                **{"seed": seed, "id": f"{schedule.id}-{seed}", **fields},
            )
            for seed, loss in enumerate(losses)
        ]

    return make


def _compare(histories, **options):
    return compare_histories(histories, **{"experiment": "X", "metric": "loss", **options})


def _labels(comparison):
    return [item.label for item in comparison.schedules]


def test_the_json_is_the_contracts(runs_of):
    """`to_dict` has the documented keys, and some more, in strict JSON."""
    found = _compare(runs_of(STEP, [1.0, 2.0, 3.0]), target=2.0).to_dict()
    expected = {
        "format": 1, "experiment": "X", "metric": "loss", "mode": "min", "target": 2.0,
        "schedules": [{
            "rank": 1, "schedule": "StepLR", "id": STEP.id, "label": "StepLR(step_size=30)",
            "params": {"step_size": 30}, "runs": 3, "diverged": 0, "unfinished": 0, "steps": 1,
            "final": {"mean": 2.0, "std": 1.0, "median": 2.0, "ci95": [1.0, 3.0], "min": 1.0,
                      "max": 3.0, "values": [1.0, 2.0, 3.0], "iqm": None},
            "best": {"mean": 2.0, "std": 1.0, "median": 2.0, "ci95": [1.0, 3.0], "min": 1.0,
                     "max": 3.0, "values": [1.0, 2.0, 3.0], "iqm": None},
            "steps_to_target": {"reached": 2, "median": 0.0},
            "seconds_to_target": {"reached": 2, "median": 0.0},
            "lr_peak": 0.1, "grad_norm": {"median": None, "p95": None, "max": None},
            "steps_per_second": None, "p_vs_best": None, "indistinguishable_from_best": True,
            "run_ids": [f"{STEP.id}-{seed}" for seed in range(3)], "seeds": [0, 1, 2],
            "source": "declared",
            "p_improvement": None, "verdict": "best", "log_area": math.log(6.0) / 3.0,
        }],
        "diagnoses": [], "warnings": [],
        "runs": [
            {
                "run_id": f"{STEP.id}-{seed}", "seed": seed, "steps": 1, "recorded": True,
                "final": seed + 1.0, "best": seed + 1.0, "best_step": 0,
                "log_area": math.log(seed + 1.0), "diverged": False, "diverged_step": None,
                "unfinished": False, "lr_peak": 0.1, "steps_per_second": None,
                "target_step": None if seed == 2 else 0,
                "target_second": None if seed == 2 else 0.0,
                "last_second": 0.0, "spikes": 0,
            }
            for seed in range(3)
        ],
    }  # fmt: skip

    assert expected == found
    assert expected == json.loads(json.dumps(found, allow_nan=False))


def test_best_first_by_mode(runs_of):
    """Small losses and large accuracies rank first unless the mode says otherwise."""
    losses = runs_of(STEP, [2.0]) + runs_of(CYCLE, [1.0])
    scores = runs_of(STEP, [2.0], "acc") + runs_of(CYCLE, [1.0], "acc")

    assert [CYCLE.label, STEP.label] == _labels(_compare(losses))
    assert [STEP.label, CYCLE.label] == _labels(_compare(losses, mode="max"))
    assert [STEP.label, CYCLE.label] == _labels(_compare(scores, metric="acc"))


def test_diverged_schedules_rank_last(runs_of):
    """A schedule with a diverged run ranks behind those without; then share and mean decide."""
    third = Schedule("ExponentialLR")
    fourth = Schedule("CyclicLR")
    found = _compare(
        runs_of(STEP, [0.1, math.nan])
        + runs_of(CYCLE, [9.0, 9.0])
        + runs_of(third, [math.inf, math.nan])
        + runs_of(fourth, [0.2, math.nan])
    )

    assert [CYCLE.label, STEP.label, "CyclicLR", "ExponentialLR"] == _labels(found)
    assert [item.diverged for item in found.schedules] == [0, 1, 1, 2]
    assert found.schedules[1].final.values == (0.1, None)
    assert found.schedules[3].final.mean is None


def test_schedules_without_the_metric_come_last(runs_of):
    """Runs that lack the metric are counted, have no value and are named in a warning."""
    found = _compare(runs_of(STEP, [1.0], "other") + runs_of(CYCLE, [math.nan]))

    assert [CYCLE.label, STEP.label] == _labels(found)
    assert found.schedules[1].runs == 1
    assert [item.code for item in found.warnings][:1] == ["metric-missing"]
    assert found.warnings[0].message == "1 of 2 runs have no loss; they have lr, other."


def test_values_are_in_the_order_of_the_seeds(runs_of):
    """Values and run ids have the same order: by seed, runs without a seed last."""
    histories = runs_of(STEP, [1.0, 2.0]) + runs_of(STEP, [3.0], seed=None, id="none")
    found = _compare(histories[::-1]).schedules[0]

    assert found.final.values == (1.0, 2.0, 3.0)
    assert (f"{STEP.id}-0", f"{STEP.id}-1", "none") == found.run_ids


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_runs_changes_nothing(runs_of, random):
    """The order of the histories does not change the comparison."""
    histories = runs_of(STEP, [1.0, 2.0, 4.0]) + runs_of(CYCLE, [2.0, 3.0, math.nan])
    shuffled = random.sample(histories, len(histories))

    assert _compare(histories).to_dict() == _compare(shuffled).to_dict()


def test_p_values_are_holm_corrected(runs_of):
    """With 5 paired seeds and two other schedules, clear differences have p = 2 * 2 / 2**5."""
    found = _compare(
        runs_of(STEP, [1.0, 1.1, 1.2, 1.3, 1.4])
        + runs_of(WIDE, [2.0, 2.1, 2.2, 2.3, 2.4])
        + runs_of(CYCLE, [5.0, 5.1, 5.2, 5.3, 5.4])
    )

    assert [item.p_vs_best for item in found.schedules] == [None, 0.125, 0.125]
    assert [item.code for item in found.warnings] == ["too-few-runs"]
    assert "at least 7 runs" in found.warnings[0].message


def test_a_clear_difference_is_told_apart(runs_of):
    """With 8 paired seeds, p = 2 / 2**8 is significant and there is no warning."""
    losses = [1.0 + seed / 10 for seed in range(8)]
    found = _compare(runs_of(STEP, losses) + runs_of(CYCLE, [loss + 1.0 for loss in losses]))

    assert found.schedules[1].p_vs_best == 2 / 2**8
    assert [item.indistinguishable_from_best for item in found.schedules] == [True, False]
    assert found.warnings == ()


def test_a_baseline_is_compared_with_instead(runs_of):
    """A label, id or name chooses the baseline, which has no p-value and is named in the JSON."""
    histories = runs_of(STEP, [1.0, 2.0]) + runs_of(CYCLE, [5.0, 6.0])
    found = [_compare(histories, baseline=name) for name in (CYCLE.label, CYCLE.id, CYCLE.name)]

    assert found[0] == found[1] == found[2]
    assert [item.p_vs_best for item in found[0].schedules] == [0.5, None]
    assert CYCLE.label == found[0].to_dict()["baseline"]


def test_a_baseline_must_be_one_schedule(runs_of):
    """An unknown or ambiguous baseline is an error that lists the schedules."""
    histories = runs_of(STEP, [1.0]) + runs_of(WIDE, [2.0])
    with pytest.raises(UsageError, match=r"several schedules here: StepLR\(step_size=30\)"):
        _compare(histories, baseline="StepLR")
    with pytest.raises(UsageError, match=r"Unknown baseline 'StepLRR'.*'StepLR'"):
        _compare(histories, baseline="StepLRR")


def test_grouping_by_name(runs_of):
    """Schedules of one name are averaged, and the group has only their common parameters."""
    found = _compare(runs_of(STEP, [1.0]) + runs_of(WIDE, [3.0]), group_by="name").schedules

    assert len(found) == 1
    assert (
        found[0].label, found[0].id, found[0].params, found[0].final.mean,
    ) == ("StepLR", None, {}, 2.0)  # fmt: skip


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("schedule,optimizer.lr", ["StepLR(step_size=30), optimizer.lr=0.1",
                                   "StepLR(step_size=30), optimizer.lr=0.2"]),
        ("optimizer.lr", ["optimizer.lr=0.1", "optimizer.lr=0.2"]),
        ("depth", ["depth=1", "depth=2"]),
        ("config.model.width", ["config.model.width=8", "config.model.width=none"]),
        ("tags.who", ["tags.who=a", "tags.who=b"]),
        ("seed", ["seed=0", "seed=1"]),
        ("group", ["group=g", "group=none"]),
        ("scheduler.step_size", ["scheduler.step_size=30"]),
    ],
)  # fmt: skip
def test_grouping_by_fields(make_history, field, expected):
    """Runs can be grouped by one or more of their fields."""
    histories = [
        make_history({"loss": [1.0]}, schedule=STEP, seed=0, optimizer={"lr": 0.1}, group="g",
                     config={"depth": 1, "model": {"width": 8}}, tags={"who": "a"}),
        make_history({"loss": [2.0]}, schedule=STEP, seed=1, optimizer={"lr": 0.2},
                     config={"depth": 2}, tags={"who": "b"}),
    ]  # fmt: skip

    assert expected == _labels(_compare(histories, group_by=field))


def test_an_unknown_field_is_refused(runs_of):
    """An unknown field is an error with the nearest name."""
    with pytest.raises(UsageError, match=r"Unknown field to group by 'optimizer.lrr'"):
        _compare(runs_of(STEP, [1.0]), group_by="optimizer.lrr")
    with pytest.raises(UsageError, match="Say what to group by"):
        _compare(runs_of(STEP, [1.0]), group_by=" , ")


def test_nothing_to_compare(runs_of, make_history):
    """Without runs, without metrics or without this metric, an error says which of them is
    missing.
    """
    with pytest.raises(NothingFound, match="no runs to compare in experiment 'X'"):
        _compare([])
    with pytest.raises(NothingFound, match="recorded a metric yet"):
        _compare([make_history({})])
    with pytest.raises(NothingFound, match=r"Unknown metric 'los'. Did you mean 'loss'"):
        _compare(runs_of(STEP, [1.0]), metric="los")


@pytest.mark.parametrize("options", [{"mode": "least"}, {"target": math.nan}])
def test_impossible_options(runs_of, options):
    """An unknown mode and a target that is not finite are errors."""
    with pytest.raises(UsageError):
        _compare(runs_of(STEP, [1.0]), **options)


def test_without_a_target_nothing_reaches_it(runs_of):
    """Without a target, no run reaches it and there is no median."""
    assert Reach(0, None) == _compare(runs_of(STEP, [1.0])).schedules[0].steps_to_target


def test_unfinished_runs_are_counted(runs_of):
    """Running and failed runs are averaged and counted."""
    states = (State.FINISHED, State.RUNNING, State.FAILED)
    histories = [
        runs_of(STEP, [float(at)], state=state, seed=at, id=str(at))[0]
        for at, state in enumerate(states)
    ]
    found = _compare(histories).schedules[0]

    assert (found.runs, found.unfinished, found.final.mean) == (3, 2, 1.0)
