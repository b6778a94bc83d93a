"""Schedules as Optuna's suggestions, trials as runs, and pruning by the tracked loss."""

from __future__ import annotations

import math
import re

import optuna
import pytest
import torch
from torch.optim import lr_scheduler

import lrtrack
from lrtrack.errors import UsageError
from lrtrack.integrations.optuna import prune, suggest_schedule, track
from lrtrack.records import State

SPECS = [
    "onecycle(max_lr=0.01..0.3 log, pct_start={0.2, 0.4})",
    "warmup(steps=2..5) -> multistep(milestones={[6], [6, 9]})",
    "cosine",
]


@pytest.fixture(autouse=True)
def quiet() -> None:
    """Silences Optuna's line for each trial."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def optimizer() -> torch.optim.Optimizer:
    """SGD over one number."""
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1, momentum=0.9)


def built(spec: str) -> list[float]:
    """Returns the learning rates of a spec, which must be complete."""
    return lrtrack.simulate(lrtrack.scheduler(optimizer(), spec, total_steps=12), 12)[:, 0].tolist()


def suggestion(specs, **values: object):
    """Returns what is suggested to a trial with these values, and the trial's parameters."""
    trial = optuna.trial.FixedTrial(values)
    return suggest_schedule(trial, specs), trial.params


def test_only_the_chosen_schedules_parameters_are_suggested() -> None:
    """Only the chosen schedule's parameters are suggested, under readable names."""
    values = {"onecycle.max_lr": 0.25, "onecycle.pct_start": 0.4, "warmup.total_iters": 3}
    spec, params = suggestion(SPECS, schedule=SPECS[0], **values)
    same = lr_scheduler.OneCycleLR(optimizer(), 0.25, total_steps=12, pct_start=0.4)

    assert params == {
        "schedule": SPECS[0],
        "onecycle.max_lr": 0.25,
        "onecycle.pct_start": 0.4,
    }
    assert spec == "onecycle(max_lr=0.25, pct_start=0.4)"
    assert built(spec) == lrtrack.simulate(same, 12)[:, 0].tolist()


def test_chains_lists_and_fixed_schedules() -> None:
    """Every stage of a chain is decided, and a schedule with nothing open stays as it is."""
    chain = {"warmup.total_iters": 4, "multistep.milestones": "[6, 9]"}
    spec, params = suggestion(SPECS, schedule=SPECS[1], **chain)

    assert params == {"schedule": SPECS[1], **chain}
    assert spec == "warmup(total_iters=4) -> multistep(milestones=[6, 9])"
    assert suggestion("cosine", schedule="cosine") == ("cosine", {"schedule": "cosine"})


def test_distributions_are_those_that_were_written() -> None:
    """Distributions are logarithmic, integer or categorical as written, equal in all trials."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask() for _ in range(30)]
    for trial in trials:
        built(suggest_schedule(trial, SPECS))
    distributions = {
        name: distribution for trial in trials for name, distribution in trial.distributions.items()
    }
    categories = optuna.distributions.CategoricalDistribution

    assert distributions == {
        "schedule": categories(SPECS),
        "onecycle.max_lr": optuna.distributions.FloatDistribution(0.01, 0.3, log=True),
        "onecycle.pct_start": categories([0.2, 0.4]),
        "warmup.total_iters": optuna.distributions.IntDistribution(2, 5),
        "multistep.milestones": categories(["[6]", "[6, 9]"]),
    }


def test_schedules_of_one_kind_and_several_in_one_trial_do_not_mix() -> None:
    """Schedules of one kind, and several in one trial, have parameter names of their own."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    names = set()
    for trial in [study.ask() for _ in range(20)]:
        suggest_schedule(trial, ["step(step_size=2..4)", "step(step_size=10..20)"])
        suggest_schedule(trial, ["step(step_size=5..6)"], name="critic")
        names |= trial.params.keys()

    assert {"schedule", "critic", "critic.step.step_size"} < names
    twins = [name for name in names if re.fullmatch(r"step_[0-9a-f]{4}\.step_size", name)]
    assert len(twins) == 2


@pytest.mark.parametrize(
    ("specs", "said"),
    [
        ([], "at least one spec"),
        (["cosine", "cosin(T_max=3)"], "Did you mean 'cosine'"),
        (["onecycle(max_lr=0.3..0.1)"], "lower end below its upper end"),
    ],
)
def test_a_bad_spec_is_refused_before_anything_is_suggested(specs, said) -> None:
    """A bad spec is refused before anything is suggested, whichever would be chosen."""
    trial = optuna.create_study().ask()
    with pytest.raises(UsageError, match=said):
        suggest_schedule(trial, specs)

    assert trial.params == {}


def losing(trial: optuna.Trial, digits, spoilt: float | None = None) -> float:
    """A training whose rate decides how well it goes, and that can be spoilt."""
    task = digits()
    trial.suggest_int("seed", 0, 9)
    spec = suggest_schedule(trial, ["constant(factor={1.0, 0.001})"])
    scheduler = lrtrack.scheduler(task.optimizer, spec, total_steps=task.steps)
    with track(trial, task.optimizer, scheduler, tracker="local") as run:
        for inputs, labels in task.batches():
            task.optimizer.zero_grad()
            task.loss(inputs, labels).backward()
            task.optimizer.step()
            scheduler.step()
            if spoilt is not None:
                run.log(loss=spoilt)
            prune(trial, run, every=4)
    loss = run.loss()
    assert loss is not None
    return loss


def test_a_hopeless_trial_is_pruned_and_its_run_failed(digits, local) -> None:
    """A hopeless trial is pruned by the mean of its last losses, and its run is FAILED."""
    study = optuna.create_study(
        study_name="s", pruner=optuna.pruners.MedianPruner(n_startup_trials=1)
    )
    for factor in (1.0, 0.001):
        study.enqueue_trial({"constant.factor": factor, "seed": 3})
    study.optimize(lambda trial: losing(trial, digits), n_trials=2)
    good, bad = study.trials
    pruned, whole = local()
    losses = whole.metrics["loss"]

    assert (good.state.name, bad.state.name) == ("COMPLETE", "PRUNED")
    assert good.intermediate_values == {
        at: pytest.approx(losses[at - 3 : at + 1].mean()) for at in (3, 7, 11)
    }
    assert good.value == losses[-1]  # 5 % of 12 steps is one
    assert (whole.state, pruned.state) == (State.FINISHED, State.FAILED)
    assert pruned.steps.tolist() == list(range(max(bad.intermediate_values) + 1))
    assert [t.user_attrs["lrtrack_run_id"] for t in (good, bad)] == [whole.id, pruned.id]
    assert [(h.run.name, h.run.group, h.run.seed) for h in (whole, pruned)] == [
        ("trial-0", "s", 3),
        ("trial-1", "s", 3),
    ]
    assert whole.run.config == {}  # the schedule implies the rest


def test_a_loss_that_is_not_a_number_is_pruned(digits, local) -> None:
    """A NaN loss is passed to Optuna, whose pruner decides."""
    study = optuna.create_study(
        pruner=optuna.pruners.ThresholdPruner(upper=100.0),
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    study.optimize(lambda trial: losing(trial, digits, spoilt=math.nan), n_trials=1)

    assert study.trials[0].state.name == "PRUNED"
    assert [len(history.steps) for history in local()] == [4]


def test_a_study_that_maximizes_is_not_pruned_by_a_loss(digits, local) -> None:
    """A study that maximizes is not pruned by a loss, with a warning."""
    study = optuna.create_study(direction="maximize")
    with pytest.raises(UsageError, match="this study maximizes"):
        study.optimize(lambda trial: losing(trial, digits), n_trials=1)

    assert local()[0].state is State.FAILED


def test_a_study_of_several_objectives_is_not_pruned(digits, local) -> None:
    """A study of several objectives, which Optuna cannot prune, is a clear error at once."""
    study = optuna.create_study(directions=["minimize", "maximize"])
    with pytest.raises(UsageError, match="this study has 2 objectives"):
        study.optimize(lambda trial: losing(trial, digits), n_trials=1)

    assert [history.steps.tolist() for history in local()] == [[0]]


def test_the_best_trial_can_be_run_again(digits, local) -> None:
    """The best trial can be run again as a frozen trial outside of a study's loop."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda trial: losing(trial, digits), n_trials=1)

    assert losing(study.best_trial, digits) == study.best_value
    assert len(local()) == 2


def test_training_is_not_changed(digits) -> None:
    """With one seed, weights are bit-equal with and without lrtrack."""
    bare, tracked = digits(), digits()
    bare.plain()
    trial = optuna.create_study().ask()
    with track(trial, tracked.optimizer, tracked.scheduler, tracker="local") as run:
        for inputs, labels in tracked.batches():
            tracked.loss(inputs, labels).backward()
            tracked.optimizer.step()
            tracked.scheduler.step()
            tracked.optimizer.zero_grad()
            prune(trial, run, every=2)

    states = zip(bare.model.state_dict().values(), tracked.model.state_dict().values(), strict=True)
    assert all(torch.equal(weight, right) for weight, right in states)
