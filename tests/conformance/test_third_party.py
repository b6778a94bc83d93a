"""Names, parameters and ids of third-party schedulers and optimizers in the trackers."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.optim import SGD

import lrtrack
from lrtrack.capture.describe import describe
from lrtrack.capture.optimizers import describe_optimizer, unwrap

from .third_party_cases import (
    TIMM,
    TRANSFORMERS,
    timm_schedule,
    timm_schedulers,
    transformers_schedule,
)
from .third_party_optimizer_cases import accelerated

#: transformers' schedules: further arguments of `get_scheduler`, and the parameter that changes.
CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    **dict.fromkeys(
        ("linear", "cosine", "cosine_with_restarts", "polynomial", "constant_with_warmup",
         "inverse_sqrt", "cosine_with_min_lr", "cosine_warmup_with_min_lr", "warmup_stable_decay"),
        ({"num_warmup_steps": 3}, "num_warmup_steps"),
    ),
    "reduce_lr_on_plateau": ({"scheduler_specific_kwargs": {"patience": 3}}, "patience"),
    "greedy": ({"scheduler_specific_kwargs": {"min_lr": 0.5}}, "min_lr"),
}  # fmt: skip


def sgd() -> torch.optim.Optimizer:
    """An optimizer with one parameter."""
    return SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)


@pytest.fixture
def timm() -> Iterator[Any]:
    """timm's schedulers."""
    if importlib.util.find_spec("timm") is None:
        pytest.skip("needs timm")
    with timm_schedulers() as schedulers:
        yield schedulers


@pytest.mark.parametrize("name", CHANGES)
def test_transformers_parameters_are_the_schedules(name: str) -> None:
    """Each parameter of a transformers schedule is recorded by name, and changing it changes the
    id.
    """
    pytest.importorskip("transformers", reason="needs transformers")
    changed, parameter = CHANGES[name]
    before = describe(transformers_schedule(name, sgd()))
    after = describe(transformers_schedule(name, sgd(), **changed))
    value = {**changed, **changed.get("scheduler_specific_kwargs", {})}[parameter]

    assert before == describe(transformers_schedule(name, sgd()))
    assert before.params[parameter] != value == after.params[parameter]
    assert before.id != after.id


def test_transformers_schedules_differ() -> None:
    """All transformers schedules have different ids."""
    pytest.importorskip("transformers", reason="needs transformers")
    ids = [describe(transformers_schedule(name, sgd())).id for name in TRANSFORMERS]

    assert len(set(ids)) == len(TRANSFORMERS)


@pytest.mark.parametrize("name", TIMM)
def test_timm_parameters_are_the_schedules(timm: Any, name: str) -> None:
    """Every argument of a timm scheduler is recorded, whatever the training has done since."""
    arguments = {**TIMM[name], "t_in_epochs": False}
    scheduler = timm_schedule(timm, name, sgd(), **arguments)
    before = describe(scheduler)
    scheduler.step_update(3)
    other = describe(timm_schedule(timm, name, sgd(), **{**arguments, "warmup_t": 1}))

    assert name == before.name
    assert arguments == {key: before.params[key] for key in arguments}
    assert before == describe(scheduler)
    assert before.id != other.id


def test_timm_plateau_shows_what_it_carries(timm: Any) -> None:
    """timm's plateau scheduler keeps its settings in the torch scheduler that it wraps."""
    arguments = {"patience_t": 3, "decay_rate": 0.5, "warmup_t": 1}
    params = describe(timm_schedule(timm, "PlateauLRScheduler", sgd(), **arguments)).flat()

    assert params["lr_scheduler.name"] == "ReduceLROnPlateau"
    assert (params["lr_scheduler.patience"], params["lr_scheduler.factor"]) == ("3", "0.5")
    assert params["warmup_t"] == "1"


def test_the_tags_in_mlflow(store: str) -> None:
    """A transformers schedule wrapped by accelerate has readable tags in MLflow."""
    pytest.importorskip("transformers", reason="needs transformers")
    pytest.importorskip("accelerate", reason="needs accelerate")
    import mlflow

    optimizer = sgd()
    scheduler = transformers_schedule("linear", optimizer, num_warmup_steps=3)
    with accelerated() as accelerator:
        wrapped, schedule = accelerator.prepare(optimizer, scheduler)
        with lrtrack.track(wrapped, schedule, experiment="X", flush_timeout=300.0) as run:
            wrapped.step()
            schedule.step()
    data = mlflow.MlflowClient(tracking_uri=store).get_run(run.id).data

    assert data.tags["lrtrack.scheduler.name"] == "LambdaLR"
    assert data.tags["lrtrack.scheduler.num_warmup_steps"] == "3"
    assert data.tags["lrtrack.scheduler.num_training_steps"] == "6"
    assert data.tags["lrtrack.scheduler.lr_lambda"].endswith(
        "linear_schedule_with_warmup_lr_lambda(num_training_steps=6, num_warmup_steps=3)"
    )
    assert data.params["scheduler.num_warmup_steps"] == "3"
    assert data.params["optimizer"] == "SGD"


def test_what_schedule_free_optimizers_count_is_no_hyper_parameter() -> None:
    """Counters of schedule-free optimizers, which share the groups, are no hyper-parameters."""
    module = pytest.importorskip("schedulefree", reason="needs schedulefree")
    optimizer = module.AdamWScheduleFree([torch.nn.Parameter(torch.ones(2))], warmup_steps=3)
    before = describe_optimizer(optimizer)
    optimizer.train()
    optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
    optimizer.step()

    assert before["warmup_steps"] == 3
    assert before == describe_optimizer(optimizer)
    assert not {"k", "weight_sum", "lr_max", "scheduled_lr", "train_mode"} & set(before)


def test_what_an_optimizer_wraps_is_named() -> None:
    """The optimizer inside Lookahead and SAM is recorded too."""
    module = pytest.importorskip("pytorch_optimizer", reason="needs pytorch-optimizer")
    parameters = [torch.nn.Parameter(torch.ones(2))]
    lookahead, sam = module.Lookahead(SGD(parameters, lr=0.1)), module.SAM(parameters, SGD, lr=0.1)
    descriptions = [describe_optimizer(unwrap(wrapper)) for wrapper in (lookahead, sam)]

    assert [(wrapper["name"], wrapper["optimizer"], wrapper["lr"]) for wrapper in descriptions] == [
        ("Lookahead", "SGD", 0.1),
        ("SAM", "SGD", 0.1),
    ]


def test_an_optimizer_that_only_looks_like_one_is_unwrapped() -> None:
    """accelerate's wrapper, a subclass of torch's optimizer without hooks, is unwrapped."""
    pytest.importorskip("accelerate", reason="needs accelerate")
    optimizer = sgd()
    with accelerated() as accelerator:
        wrapped = accelerator.prepare(optimizer)

        assert isinstance(wrapped, torch.optim.Optimizer)
        assert unwrap(wrapped) is optimizer


def test_nothing_of_them_is_imported_by_lrtrack() -> None:
    """lrtrack imports no framework: it recognizes their objects by their attributes."""
    names = ("transformers", "timm", "pytorch_optimizer", "schedulefree", "accelerate")
    code = "import sys, lrtrack; lrtrack.track; lrtrack.describe(None); print(*sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in process.stdout.split()}

    assert "torch" in loaded
    assert loaded.isdisjoint(names)


def test_timm_leaves_nothing(timm: Any) -> None:
    """timm's schedulers are loaded without the package's initialisation, and unloaded again."""
    inside = {name for name in sys.modules if name.startswith("timm")}
    with timm_schedulers() as again:
        module = again.CosineLRScheduler.__module__

    assert module == "timm.scheduler.cosine_lr"
    assert {name for name in sys.modules if name.startswith("timm")} == inside
    assert "timm.models" not in inside
