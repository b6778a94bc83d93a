"""Warnings about runs and steps that count twice, and about setups that differ."""

import numpy as np
import pytest

from lrtrack.records import State
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories

STEP, CYCLE = Schedule("StepLR"), Schedule("OneCycleLR")
CURVE = [1.0 / step for step in range(1, 13)]


def _warnings(histories, **options):
    found = compare_histories(histories, experiment=None, metric="loss", **options)
    return {item.code: item.message for item in found.warnings}


def test_runs_of_one_seed(make_history):
    """Two runs with the same schedule, seed and setup are named; other seeds, setups and devices
    are not.
    """
    run = {"schedule": STEP, "seed": 0}
    first = make_history({"loss": [1.0]}, id="a", **run)
    again = make_history({"loss": [2.0]}, id="b", **run)
    others = [
        make_history({"loss": [2.0]}, id="c", schedule=STEP, seed=1),
        make_history({"loss": [2.0]}, id="d", schedule=STEP, seed=None),
        make_history({"loss": [2.0]}, id="e", schedule=STEP, seed=None),
        make_history({"loss": [2.0]}, id="f", config={"depth": 3}, **run),
        make_history({"loss": [2.0]}, id="g", device_type="cuda", **run),
        make_history({"loss": [2.0]}, id="i", prefix="gan/", **run),
        make_history({"loss": [2.0]}, id="h", schedule=CYCLE, seed=0),
    ]

    assert (
        "(StepLR, seed 0: 2 runs): if one repeats" in _warnings([first, again])["duplicate-seeds"]
    )
    assert "Some " not in _warnings([first, again])["duplicate-seeds"]
    assert "duplicate-seeds" not in _warnings([first, *others])
    assert "duplicate-seeds" not in _warnings([first, others[-1]], group_by="seed")


def test_a_run_that_goes_on_with_another(make_history):
    """The warning mentions signs of a resume or a restart."""
    first = make_history({"loss": [1.0] * 3}, id="a", seed=0, state=State.FAILED)
    later = make_history({"loss": [1.0] * 3}, id="b", seed=0)
    later.steps[:] = [3, 4, 5]
    found = _warnings([first, later])["duplicate-seeds"]

    assert "Some begin after step 0" in found
    assert "Some did not finish" in found


def test_a_run_that_was_read_twice(make_history):
    """A run id that occurs twice is reported as one run, not as a repeated seed."""
    run = make_history({"loss": CURVE}, id="abc", seed=0)
    found = _warnings([run, run])

    assert found.keys() == {"duplicate-runs"}
    assert "1 of 1 runs were read more than once, abc 2 times" in found["duplicate-runs"]


def test_steps_that_are_there_twice(make_history):
    """A run whose steps do not increase gets a warning."""
    run = make_history({"loss": CURVE}, id="abc", seed=0)
    run.steps[5] = run.steps[4]

    assert "1 of 1 runs have repeated or unordered steps" in _warnings([run])["duplicate-steps"]


@pytest.mark.parametrize(
    ("curve", "found"), [(CURVE, True), (CURVE[:9], False), ([0.5] * 12, False)]
)
def test_runs_that_are_alike(make_history, curve, found):
    """Equal series of at least ten records get a warning, unless all values are the same number."""
    runs = [make_history({"loss": curve}, id=str(seed), seed=seed) for seed in range(2)]

    assert found == ("identical-runs" in _warnings(runs))


def test_alike_up_to_divergence(make_history):
    """Copies are found although they end with NaN; runs of only NaN are not copies."""
    runs = [
        make_history({"loss": [*CURVE, np.nan, np.inf]}, id=str(seed), seed=seed)
        for seed in range(2)
    ]
    lost = [make_history({"loss": [np.nan] * 12}, id=str(seed), seed=seed) for seed in range(2)]

    assert "constant: 2 runs" in _warnings(runs)["identical-runs"]
    assert "identical-runs" not in _warnings(lost)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"batch_size": 32}, {"batch_size": 64}),
        ({"trainBatchSize": 32}, {"trainBatchSize": 64}),
        ({"data": {"path": "a"}}, {"data": {"path": "b"}}),
        ({"dataset": "a"}, {}),
        ({"model": "resnet"}, {"model": "vit"}),
        ({"accumulate_grad_batches": 1, "gradient_accumulation": 1}, {"gradient_accumulation": 2}),
    ],
)
def test_schedules_with_other_batches_data_or_models(make_history, one, other):
    """A batch size, data set or model that differs between schedules is named with its values."""
    histories = [
        make_history({"loss": [1.0]}, schedule=STEP, seed=0, id="a", config=one),
        make_history({"loss": [1.0]}, schedule=CYCLE, seed=0, id="b", config=other),
    ]
    message = _warnings(histories)["setup-differs"]

    assert "for OneCycleLR; " in message
    assert " for StepLR)" in message


@pytest.mark.parametrize("config", [{"max_lr": 0.1}, {"database_retries": 3}, {"seed": 5}])
def test_other_settings_may_be_the_schedules_own(make_history, config):
    """Settings other than batch size, data and model may differ between schedules."""
    histories = [
        make_history({"loss": [1.0]}, schedule=STEP, seed=0, id="a", config=config),
        make_history({"loss": [1.0]}, schedule=CYCLE, seed=0, id="b"),
    ]

    assert "setup-differs" not in _warnings(histories)


def test_setups_are_told_together_and_once(make_history):
    """Settings that separate the same schedules share one warning, without mixed and grouping
    fields.
    """
    one = {"batch_size": 32, "model": {"name": "a", "blocks": 2}}
    other = {"batch_size": 64, "model": {"name": "b", "blocks": 2}}
    histories = [
        make_history({"loss": [1.0]}, schedule=STEP, seed=0, id="a", config=one),
        make_history({"loss": [1.0]}, schedule=CYCLE, seed=0, id="b", config=other),
    ]
    mixed = make_history({"loss": [1.0]}, schedule=CYCLE, seed=1, id="c", config=one)
    found = _warnings(histories)["setup-differs"]

    assert (
        "(config.batch_size 64, config.model.name b for OneCycleLR; "
        "config.batch_size 32, config.model.name a for StepLR)"
    ) in found
    assert "setup-differs" not in _warnings([*histories, mixed])
    assert "setup-differs" not in _warnings(histories, group_by="batch_size,config.model.name")


def test_the_many_are_counted(make_history):
    """The few schedules that differ are named, by label if names are ambiguous; the rest are
    "others".
    """
    histories = [
        make_history({"loss": [1.0]}, schedule=Schedule("StepLR", {"n": at}), seed=0, id=str(at),
                     config={"batch_size": 64 if at == 3 else 32})
        for at in range(9)
    ]  # fmt: skip

    assert (
        "(config.batch_size 64 for StepLR(n=3); config.batch_size 32 for the other 8)"
    ) in _warnings(histories)["setup-differs"]


def test_another_optimizer(make_history):
    """Different optimizers get a warning; different learning rates do not."""
    histories = [
        make_history({"loss": [1.0]}, schedule=schedule, seed=0, id=name,
                     optimizer={"name": name, "lr": rate})
        for schedule, name, rate in ((STEP, "SGD", 0.1), (CYCLE, "Adam", 0.2))
    ]  # fmt: skip

    assert "optimizer.name Adam for OneCycleLR" in _warnings(histories)["setup-differs"]
    assert "optimizer.lr" not in _warnings(histories)["setup-differs"]


def test_diverged_runs_may_stop_early(make_history):
    """A diverged run that stopped early causes no warning about budgets."""
    histories = [
        make_history({"loss": [1.0] * 9}, seed=0),
        make_history({"loss": [1.0, np.nan]}, seed=1),
    ]

    assert "budget-differs" not in _warnings(histories)
