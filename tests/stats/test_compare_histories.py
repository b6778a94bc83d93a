"""Comparisons built from histories."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

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
    half = pytest.approx(4.302652729749 / math.sqrt(3.0))  # the quantile of t for 2 df
    low, high = found["schedules"][0]["final"]["ci95"]
    ends = [low, high]
    expected = {
        "format": 2, "experiment": "X", "metric": "loss", "mode": "min", "target": 2.0,
        "schedules": [{
            "rank": 1, "schedule": "StepLR", "id": STEP.id, "label": "StepLR(step_size=30)",
            "params": {"step_size": 30}, "runs": 3, "diverged": 0, "unfinished": 0, "steps": 1,
            "final": {"mean": 2.0, "std": 1.0, "median": 2.0, "ci95": ends, "min": 1.0,
                      "max": 3.0, "values": [1.0, 2.0, 3.0], "iqm": None},
            "best": {"mean": 2.0, "std": 1.0, "median": 2.0, "ci95": ends, "min": 1.0,
                     "max": 3.0, "values": [1.0, 2.0, 3.0], "iqm": None},
            "steps_to_target": {"reached": 2, "median": 0.0, "resolution": None},
            "seconds_to_target": {"reached": 2, "median": 0.0, "resolution": None},
            "lr_peak": 0.1, "grad_norm": {"median": None, "p95": None, "max": None},
            "steps_per_second": None, "p_vs_best": None, "indistinguishable_from_best": True,
            "run_ids": [f"{STEP.id}-{seed}" for seed in range(3)], "seeds": [0, 1, 2],
            "source": "declared",
            "p_improvement": None, "verdict": "best", "log_area": math.log(6.0) / 3.0,
            "ci95_method": "t-own", "vs_best": None, "could_be_best": True, "seeds_to_tell": None,
            "p_improvement_ci95": None, "optimistic": False, "equivalent": None,
            "tuning": None, "tasks": [], "across": None,
        }],
        "diagnoses": [], "warnings": [],
        "test": {"name": None, "scale": "linear", "seeds": 0, "sigma": 1.0, "df": 2.0,
                 "own_spread": 0.0},
        "runs": [
            {
                "run_id": f"{STEP.id}-{seed}", "seed": seed, "steps": 1, "recorded": True,
                "final": seed + 1.0, "best": seed + 1.0, "best_step": 0,
                "log_area": math.log(seed + 1.0), "diverged": False, "diverged_step": None,
                "unfinished": False, "lr_peak": 0.1, "steps_per_second": None,
                "target_step": None if seed == 2 else 0,
                "target_second": None if seed == 2 else 0.0,
                "last_second": 0.0, "spikes": 0,
                "target_gap": None if seed == 2 else 1,
                "target_gap_seconds": None if seed == 2 else 0.0,
            }
            for seed in range(3)
        ],
    }  # fmt: skip

    assert (half, half) == (2.0 - low, high - 2.0)
    assert expected == found
    assert expected == json.loads(json.dumps(found, allow_nan=False))


def test_best_first_by_mode(runs_of):
    """Small losses and large accuracies rank first unless the mode says otherwise."""
    losses = runs_of(STEP, [2.0]) + runs_of(CYCLE, [1.0])
    scores = runs_of(STEP, [2.0], "acc") + runs_of(CYCLE, [1.0], "acc")

    assert [CYCLE.label, STEP.label] == _labels(_compare(losses))
    assert [STEP.label, CYCLE.label] == _labels(_compare(losses, mode="max"))
    assert [STEP.label, CYCLE.label] == _labels(_compare(scores, metric="acc"))


def test_half_diverged_schedules_rank_last(runs_of):
    """A schedule of which half the runs diverged ranks behind the others; then the mean decides."""
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


def test_one_divergence_of_five(runs_of):
    """One diverged run of five costs the schedule its place only against a better median."""
    found = _compare(
        runs_of(STEP, [0.1, 0.11, 0.12, 0.13, math.nan])
        + runs_of(CYCLE, [0.3, 0.31, 0.3, 0.3, 0.3])
    ).schedules

    assert [(item.schedule, item.diverged, item.verdict) for item in found] == [
        ("StepLR", 1, "best"), ("OneCycleLR", 0, "worse"),
    ]  # fmt: skip
    assert found[0].final.median == pytest.approx(0.115)


def test_equal_medians_rank_by_the_mean(runs_of):
    """Schedules with one median rank by the mean of the runs that ended."""
    found = _compare(runs_of(STEP, [1.0, 2.0, 3.0]) + runs_of(CYCLE, [1.5, 2.0, 2.2]))

    assert [CYCLE.label, STEP.label] == _labels(found)


def test_differences_to_the_best(runs_of):
    """With seeds, the p-value of two schedules is that of the paired t test, at three seeds too."""
    one, other = [1.0, 1.2, 1.1], [2.0, 2.3, 2.0]
    found = _compare(runs_of(STEP, one) + runs_of(CYCLE, other)).schedules
    test = stats.ttest_rel(other, one)

    assert found[0].vs_best is None
    assert found[1].vs_best.difference == pytest.approx(1.0)
    assert found[1].vs_best.ci95 == pytest.approx(tuple(test.confidence_interval()))
    assert found[1].p_vs_best == found[1].vs_best.p == pytest.approx(test.pvalue)
    assert [item.could_be_best for item in found] == [True, False]
    assert [item.indistinguishable_from_best for item in found] == [True, False]


def test_single_runs_have_no_spread(runs_of):
    """With one run per schedule there is a difference of the means, but no interval or p-value."""
    found = _compare(runs_of(STEP, [1.0]) + runs_of(CYCLE, [2.0]))

    assert [item.vs_best for item in found.schedules] == [None, None]
    assert [item.final.ci95 for item in found.schedules] == [None, None]
    assert [item.verdict for item in found.schedules] == ["best", "too-few-runs"]
    assert [item.code for item in found.warnings] == ["too-few-runs"]


def test_equal_runs_have_no_spread(runs_of):
    """Where all runs of a schedule are equal, no difference can be judged, as a warning says."""
    found = _compare(runs_of(STEP, [0.1] * 3) + runs_of(CYCLE, [0.3] * 3))

    assert [item.p_vs_best for item in found.schedules] == [None, None]
    assert [item.code for item in found.warnings] == ["no-spread"]


def test_equivalence_needs_the_whole_interval(runs_of):
    """A schedule is equivalent where the interval of its difference lies within the margin."""
    runs = runs_of(STEP, [1.0, 1.1, 1.2, 1.0]) + runs_of(CYCLE, [1.1, 1.0, 1.2, 1.1])
    found = [_compare(runs, margin=margin).schedules[1] for margin in (0.1, 0.2)]

    assert [item.equivalent for item in found] == [False, True]
    assert found[1].vs_best.ci95 == pytest.approx((-0.127, 0.177), abs=1e-3)
    assert _compare(runs).schedules[1].equivalent is None


def test_a_baseline_is_compared_with_instead(runs_of):
    """A label, id or name chooses the baseline, which has no p-value and is named in the JSON."""
    histories = runs_of(STEP, [1.0, 2.0]) + runs_of(CYCLE, [5.0, 6.0])
    found = [_compare(histories, baseline=name) for name in (CYCLE.label, CYCLE.id, CYCLE.name)]

    assert found[0] == found[1] == found[2]
    assert found[0].schedules[0].vs_best.difference == pytest.approx(-4.0)
    assert found[0].schedules[1].vs_best is None
    assert CYCLE.label == found[0].to_dict()["baseline"]


def test_a_baseline_must_be_one_schedule(runs_of):
    """An unknown or ambiguous baseline is an error that lists the schedules."""
    histories = runs_of(STEP, [1.0]) + runs_of(WIDE, [2.0])
    with pytest.raises(UsageError, match=r"the name of several rows here: StepLR\(step_size=30\)"):
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
    with pytest.raises(UsageError, match="No field to group by"):
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


@pytest.mark.parametrize("options", [{"mode": "least"}, {"target": math.nan}, {"margin": 0.0}])
def test_impossible_options(runs_of, options):
    """An unknown mode, a target that is not finite and a margin of 0 are errors."""
    with pytest.raises(UsageError):
        _compare(runs_of(STEP, [1.0]), **options)


def test_without_a_target_nothing_reaches_it(runs_of):
    """Without a target, no run reaches it and there is no median."""
    assert Reach(0, None) == _compare(runs_of(STEP, [1.0])).schedules[0].steps_to_target


def test_unfinished_runs_do_not_count(runs_of):
    """Running and failed runs have no final value unless they are asked for; diverged ones count
    as that.
    """
    states = (State.FINISHED, State.RUNNING, State.FAILED, State.FAILED)
    losses = (0.0, 1.0, 5.0, math.nan)
    histories = [
        runs_of(STEP, [loss], state=state, seed=at, id=str(at))[0]
        for at, (state, loss) in enumerate(zip(states, losses, strict=True))
    ]
    found = _compare(histories).schedules[0]
    every = _compare(histories, include_unfinished=True).schedules[0]

    assert (found.runs, found.unfinished, found.diverged) == (4, 3, 1)
    assert found.final.values == (0.0, None, None, None)
    assert every.final.values == (0.0, 1.0, 5.0, None)


def test_a_killed_run_makes_no_schedule_worse(runs_of):
    """A run that was killed at half-time does not move its schedule behind a worse one."""
    killed = runs_of(STEP, [9.0], state=State.FAILED, seed=9, id="killed")
    found = _compare(runs_of(STEP, [1.0, 1.1]) + killed + runs_of(CYCLE, [2.0, 2.2]))

    assert [STEP.label, CYCLE.label] == _labels(found)
