from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as ls
from torch.optim.swa_utils import SWALR

from lrtrack import Schedule, describe

HERE = __name__


def sgd(seed: int = 0, groups: int = 1, **options: Any) -> torch.optim.SGD:
    torch.manual_seed(seed)
    parameters = [{"params": [torch.nn.Parameter(torch.randn(2))]} for _ in range(groups)]
    return torch.optim.SGD(parameters, **{"lr": 0.1, "momentum": 0.9, **options})


def train(optimizer: torch.optim.Optimizer, scheduler: Any, steps: int) -> None:
    for step in range(steps):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        plateau = isinstance(scheduler, ls.ReduceLROnPlateau)
        scheduler.step(float(step)) if plateau else scheduler.step()


def halved(epoch: int) -> float:
    return 0.5**epoch


def ramp(epoch: int, warmup: int, shape: Any = None, power: float = 1.0) -> float:
    return min(1.0, (epoch + 1) / warmup) ** power


class Decay:
    def __init__(self, rate: float, names: list[str]) -> None:
        self.rate = rate
        self.names = names
        self.where = object()
        self._calls = 0

    def __call__(self, epoch: float) -> float:
        self._calls += 1
        return self.rate**epoch


class Halving(ls.LRScheduler):
    def __init__(self, optimizer: Any, period: int, last_epoch: int = -1) -> None:
        self.period = period
        self.halvings = 0
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self.halvings = self.last_epoch // self.period
        return [base * 0.5**self.halvings for base in self.base_lrs]


class ShortSteps(ls.StepLR):
    def __init__(self, optimizer: Any, size: int, note: str = "short") -> None:
        self.note = note
        super().__init__(optimizer, step_size=size)


class Foreign:
    """A scheduler that is not torch's and says nothing in its constructor."""

    def __init__(self, optimizer: Any, **options: Any) -> None:
        self.optimizer = optimizer
        self.last_epoch = 0
        self.step_count = 0
        self.base_lrs = [0.1]
        self.__dict__.update(options)
        self._secret = 1

    def step(self) -> None:
        self.last_epoch += 1
        self.step_count += 1


class Wrapper:
    """What accelerate puts around a scheduler."""

    def __init__(self, scheduler: Any, optimizers: Any, split_batches: bool = False) -> None:
        self.scheduler = scheduler
        self.optimizers = optimizers
        self.split_batches = split_batches

    def step(self) -> None:
        self.scheduler.step()


Build = Callable[[torch.optim.Optimizer], Any]

PLATEAU = {
    "mode": "min", "factor": 0.1, "patience": 10, "threshold": 1e-4, "threshold_mode": "rel",
    "cooldown": 0, "min_lr": 0, "eps": 1e-8,
}  # fmt: skip
CYCLIC = {
    "base_lr": 0.01, "max_lr": 0.1, "step_size_up": 2000, "step_size_down": 2000,
    "mode": "triangular", "gamma": 1.0, "scale_mode": "cycle", "cycle_momentum": True,
    "base_momentum": 0.8, "max_momentum": 0.9,
}  # fmt: skip
STILL = {"cycle_momentum": False}
ONE_CYCLE = {
    "max_lr": 0.1, "total_steps": 100, "pct_start": 0.3, "anneal_strategy": "cos",
    "cycle_momentum": True, "base_momentum": 0.85, "max_momentum": 0.95, "div_factor": 25.0,
    "final_div_factor": 10000.0, "three_phase": False,
}  # fmt: skip


def without_momentum(params: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in params.items() if k not in ("base_momentum", "max_momentum")}
    return {**kept, **STILL}


TABLE: list[tuple[str, Build, dict[str, Any]]] = [
    ("LambdaLR", lambda o: ls.LambdaLR(o, halved), {"lr_lambda": f"{HERE}.halved"}),
    (
        "MultiplicativeLR",
        lambda o: ls.MultiplicativeLR(o, lr_lambda=halved),
        {"lr_lambda": f"{HERE}.halved"},
    ),
    ("StepLR", lambda o: ls.StepLR(o, 30), {"step_size": 30, "gamma": 0.1}),
    (
        "MultiStepLR",
        lambda o: ls.MultiStepLR(o, [40, 5, 5, 20], gamma=0.5),
        {"milestones": [5, 5, 20, 40], "gamma": 0.5},
    ),
    ("ConstantLR", ls.ConstantLR, {"factor": 1.0 / 3, "total_iters": 5}),
    (
        "LinearLR",
        lambda o: ls.LinearLR(o, start_factor=0.25, total_iters=8),
        {"start_factor": 0.25, "end_factor": 1.0, "total_iters": 8},
    ),
    ("ExponentialLR", lambda o: ls.ExponentialLR(o, 0.9), {"gamma": 0.9}),
    (
        "SequentialLR",
        lambda o: ls.SequentialLR(o, [ls.LinearLR(o), ls.StepLR(o, 9)], milestones=[5]),
        {
            "schedulers": [
                {
                    "name": "LinearLR",
                    "start_factor": 1.0 / 3,
                    "end_factor": 1.0,
                    "total_iters": 5,
                },
                {"name": "StepLR", "step_size": 9, "gamma": 0.1},
            ],
            "milestones": [5],
        },
    ),
    (
        "CosineAnnealingLR",
        lambda o: ls.CosineAnnealingLR(o, 50, eta_min=0.001),
        {"T_max": 50, "eta_min": 0.001},
    ),
    (
        "ChainedScheduler",
        lambda o: ls.ChainedScheduler([ls.ConstantLR(o, 0.5), ls.ExponentialLR(o, 0.9)]),
        {
            "schedulers": [
                {"name": "ConstantLR", "factor": 0.5, "total_iters": 5},
                {"name": "ExponentialLR", "gamma": 0.9},
            ]
        },
    ),
    ("ReduceLROnPlateau", ls.ReduceLROnPlateau, PLATEAU),
    (
        "ReduceLROnPlateau",
        lambda o: ls.ReduceLROnPlateau(o, "max", 0.5, 2, threshold_mode="abs", min_lr=[0.01]),
        PLATEAU
        | {"mode": "max", "factor": 0.5, "patience": 2, "threshold_mode": "abs", "min_lr": 0.01},
    ),
    ("CyclicLR", lambda o: ls.CyclicLR(o, 0.01, 0.1), CYCLIC),
    (
        "CyclicLR",
        lambda o: ls.CyclicLR(o, 0.01, 0.1, 7, 13, mode="exp_range", gamma=0.99, **STILL),
        without_momentum(CYCLIC)
        | {"step_size_up": 7, "step_size_down": 13, "mode": "exp_range", "gamma": 0.99}
        | {"scale_mode": "iterations"},
    ),
    (
        "CyclicLR",
        lambda o: ls.CyclicLR(o, 0.01, 0.1, scale_fn=Decay(0.9, []), scale_mode="iterations"),
        CYCLIC | {"scale_fn": f"{HERE}.Decay(names=[], rate=0.9)", "scale_mode": "iterations"},
    ),
    (
        "CosineAnnealingWarmRestarts",
        lambda o: ls.CosineAnnealingWarmRestarts(o, 3, T_mult=2),
        {"T_0": 3, "T_mult": 2, "eta_min": 0.0},
    ),
    ("OneCycleLR", lambda o: ls.OneCycleLR(o, 0.1, total_steps=100), ONE_CYCLE),
    ("OneCycleLR", lambda o: ls.OneCycleLR(o, 0.1, epochs=10, steps_per_epoch=10), ONE_CYCLE),
    (
        "OneCycleLR",
        lambda o: ls.OneCycleLR(
            o, 0.7, 130, pct_start=0.15, anneal_strategy="linear", base_momentum=0.7,
            max_momentum=0.9, div_factor=7.0, final_div_factor=30.0, three_phase=True,
        ),
        {
            "max_lr": 0.7, "total_steps": 130, "pct_start": 0.15, "anneal_strategy": "linear",
            "cycle_momentum": True, "base_momentum": 0.7, "max_momentum": 0.9, "div_factor": 7.0,
            "final_div_factor": 30.0, "three_phase": True,
        },
    ),
    (
        "OneCycleLR",
        lambda o: ls.OneCycleLR(o, 0.1, total_steps=100, **STILL),
        without_momentum(ONE_CYCLE),
    ),
    ("PolynomialLR", lambda o: ls.PolynomialLR(o, 40), {"total_iters": 40, "power": 1.0}),
    (
        "SWALR",
        lambda o: SWALR(o, 0.05, anneal_epochs=20, anneal_strategy="linear"),
        {"swa_lr": 0.05, "anneal_epochs": 20, "anneal_strategy": "linear"},
    ),
    ("LRScheduler", lambda o: Halving(o, 4), {"period": 4}),
]  # fmt: skip
EACH = pytest.mark.parametrize(
    ("name", "build", "params"), TABLE, ids=[f"{row[0]}{at}" for at, row in enumerate(TABLE)]
)


def class_name(name: str) -> str:
    return {"LRScheduler": "Halving"}.get(name, name)


def test_table_covers_torch() -> None:
    """The table of this file has every scheduler class that torch exports."""
    covered = {name for name, _, _ in TABLE}

    assert {*ls.__all__, "SWALR"} == covered


@EACH
def test_torch_schedulers(name: str, build: Build, params: dict[str, Any]) -> None:
    """A scheduler is described by its class and the arguments given, or torch's defaults."""
    found = describe(build(sgd()))

    assert (class_name(name), params) == (found.name, dict(found.params))


@EACH
def test_unchanged_by_training(name: str, build: Build, params: dict[str, Any]) -> None:
    """A description taken in the middle or at the end of a training is that of its beginning."""
    optimizer = sgd()
    scheduler = build(optimizer)
    expected = describe(scheduler).spec
    train(optimizer, scheduler, 50)
    middle = describe(scheduler).spec
    train(optimizer, scheduler, 49)

    assert expected == middle
    assert expected == describe(scheduler).spec


@EACH
def test_id_ignores_the_optimizer(name: str, build: Build, params: dict[str, Any]) -> None:
    """Equal schedules have one id, whatever the seed, the optimizer and the number of groups."""
    expected = describe(build(sgd())).id
    adam = torch.optim.Adam([torch.nn.Parameter(torch.randn(3))], lr=0.003)

    assert expected == describe(build(sgd(seed=7, lr=0.5))).id
    assert expected == describe(build(adam)).id
    if "min_lr" not in params or isinstance(params["min_lr"], int):
        assert expected == describe(build(sgd(groups=3))).id


@EACH
def test_same_after_a_checkpoint(name: str, build: Build, params: dict[str, Any]) -> None:
    """A scheduler restored from its state is described as the one that was saved."""
    optimizer = sgd()
    saved = build(optimizer)
    expected = describe(saved)
    train(optimizer, saved, 10)
    state = saved.state_dict()
    restored = build(sgd())
    restored.load_state_dict(state)

    assert expected == describe(restored)


def test_ids_differ_with_parameters() -> None:
    """No two rows of the table that differ in class or parameters share an id."""
    distinct = {(row[0], str(row[2])) for row in TABLE}

    assert len(distinct) == len({describe(build(sgd())).id for _, build, _ in TABLE})


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda o: None, "a8ceff3a"),
        (lambda o: ls.StepLR(o, 30), "77129989"),
        (lambda o: ls.OneCycleLR(o, 0.1, total_steps=100), "a44ae900"),
        (
            lambda o: ls.SequentialLR(
                o, [ls.LinearLR(o, 0.1), ls.CosineAnnealingLR(o, 95)], milestones=[5]
            ),
            "60f6244e",
        ),
    ],
)
def test_ids_stay(build: Build, expected: str) -> None:
    """Ids are those of earlier versions: runs of a year ago are still grouped with new ones."""
    found = describe(build(sgd())).id

    assert expected == found


def test_constant() -> None:
    """No scheduler is a constant schedule."""
    found = describe(None)

    assert Schedule("constant") == found


def test_schedule_is_itself() -> None:
    """A description is its own description."""
    schedule = Schedule("StepLR", {"step_size": 3, "gamma": 0.5})

    assert schedule is describe(schedule)


def test_deep_nesting() -> None:
    """Schedulers inside schedulers are opened to any depth that torch allows."""
    optimizer = sgd()
    chained = ls.ChainedScheduler([ls.ExponentialLR(optimizer, 0.9)])
    inner = ls.SequentialLR(optimizer, [ls.ConstantLR(optimizer, 0.5), chained], milestones=[4])
    found = describe(ls.ChainedScheduler([inner, ls.StepLR(optimizer, 2)])).flat()

    assert found == {
        "name": "ChainedScheduler",
        "schedulers.0.name": "SequentialLR",
        "schedulers.0.schedulers.0.name": "ConstantLR",
        "schedulers.0.schedulers.0.factor": "0.5",
        "schedulers.0.schedulers.0.total_iters": "5",
        "schedulers.0.schedulers.1.name": "ChainedScheduler",
        "schedulers.0.schedulers.1.schedulers.0.name": "ExponentialLR",
        "schedulers.0.schedulers.1.schedulers.0.gamma": "0.9",
        "schedulers.0.milestones": "[4]",
        "schedulers.1.name": "StepLR",
        "schedulers.1.step_size": "2",
        "schedulers.1.gamma": "0.1",
    }


@pytest.mark.parametrize(
    ("build", "key", "expected"),
    [
        (lambda o: ls.OneCycleLR(o, [0.1, 0.2], 100), "max_lr", [0.1, 0.2]),
        (lambda o: ls.OneCycleLR(o, [0.1, 0.2], 100), "div_factor", 25.0),
        (lambda o: ls.CyclicLR(o, [0.01, 0.02], 0.1), "base_lr", [0.01, 0.02]),
        (lambda o: ls.CyclicLR(o, 0.01, [0.1, 0.1]), "max_lr", 0.1),
        (lambda o: ls.ReduceLROnPlateau(o, min_lr=[0.01, 0.02]), "min_lr", [0.01, 0.02]),
        (lambda o: SWALR(o, [0.05, 0.06]), "swa_lr", [0.05, 0.06]),
        (
            lambda o: ls.LambdaLR(o, [halved, math.cos]),
            "lr_lambda",
            [f"{HERE}.halved", "math.cos"],
        ),
        (lambda o: ls.LambdaLR(o, [halved, halved]), "lr_lambda", f"{HERE}.halved"),
    ],
)
def test_param_groups(build: Build, key: str, expected: Any) -> None:
    """What param groups share is one value; where they differ there is a list."""
    found = describe(build(sgd(groups=2))).params

    assert expected == found[key]


def test_group_added_later() -> None:
    """A param group that is added during training changes no description."""
    optimizer = sgd()
    schedulers = [ls.OneCycleLR(optimizer, 0.1, 100), ls.ReduceLROnPlateau(optimizer, min_lr=0.01)]
    expected = [describe(scheduler) for scheduler in schedulers]
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})

    assert expected == [describe(scheduler) for scheduler in schedulers]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (halved, f"{HERE}.halved"),
        (math.cos, "math.cos"),
        (np.sin, "numpy.sin"),
        (abs, "abs"),
        (lambda epoch: 1.0, f"{HERE}.<lambda>"),
        (functools.lru_cache(halved), f"{HERE}.halved"),
        (functools.partial(ramp, warmup=5), f"{HERE}.ramp(warmup=5)"),
        (
            functools.partial(ramp, power=2.0, shape="cos", warmup=5),
            f'{HERE}.ramp(power=2.0, shape="cos", warmup=5)',
        ),
        (functools.partial(ramp, 1, warmup=5), f"{HERE}.ramp(1, warmup=5)"),
        (functools.partial(ramp, warmup=torch.tensor(5)), f"{HERE}.ramp(warmup=5)"),
        (
            functools.partial(ramp, warmup=5, shape=functools.partial(halved, epoch=1)),
            f"{HERE}.ramp(shape={HERE}.halved(epoch=1), warmup=5)",
        ),
        (functools.partial(ramp, warmup=5, shape=object()), f"{HERE}.ramp(shape=object, warmup=5)"),
        (
            functools.partial(functools.partial(ramp, warmup=5), power=3),
            f"{HERE}.ramp(power=3, warmup=5)",
        ),
        (Decay(0.9, ["a"]), f'{HERE}.Decay(names=["a"], rate=0.9)'),
        (Decay(0.9, []).__call__, f"{HERE}.Decay.__call__"),
    ],
)
def test_functions(function: Callable[[int], float], expected: str) -> None:
    """A function is named; a partial and a callable object show their plain parameters too."""
    optimizer = sgd()
    scheduler = ls.LambdaLR.__new__(ls.LambdaLR)  # some of these are no learning-rate factors
    scheduler.optimizer, scheduler.lr_lambdas = optimizer, [function]

    assert expected == describe(scheduler).params["lr_lambda"]


def test_a_partials_settings_are_parameters() -> None:
    """Each keyword argument by its name; none where the param groups have different ones."""
    slow, fast = functools.partial(ramp, warmup=5), functools.partial(ramp, warmup=1)
    optimizer = sgd()
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
    texts = [f"{HERE}.ramp(warmup={warmup})" for warmup in (5, 1)]

    assert {"lr_lambda": texts[0], "warmup": 5} == describe(ls.LambdaLR(sgd(), slow)).params
    assert {"lr_lambda": texts} == describe(ls.LambdaLR(optimizer, [slow, fast])).params


def test_callable_object_keeps_its_text() -> None:
    """What a callable object counts privately does not get into its description."""
    optimizer = sgd()
    scheduler = ls.LambdaLR(optimizer, Decay(0.9, []))
    expected = describe(scheduler)
    train(optimizer, scheduler, 5)

    assert expected == describe(scheduler)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.tensor(0.5), 0.5),
        (torch.tensor(3), 3),
        (np.float64(0.1), 0.1),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([1, 2]), [1, 2]),
        (range(3), [0, 1, 2]),
        ({2, 1}, [1, 2]),
        ({"a": (1, None)}, {"a": [1, None]}),
    ],
)
def test_values_become_plain(given: Any, expected: Any) -> None:
    """Tensors, numpy's numbers and containers become Python's numbers, lists and mappings."""
    found = describe(Foreign(sgd(), given=given)).params["given"]

    assert (expected, type(expected)) == (found, type(found))


def test_tensor_learning_rates() -> None:
    """Learning rates held in tensors are described as numbers, and not as what they became."""
    optimizer = sgd(lr=torch.tensor(0.5), foreach=False)
    scheduler = ls.OneCycleLR(optimizer, torch.tensor(0.5), total_steps=100)
    train(optimizer, scheduler, 30)
    expected = {"max_lr": 0.5, "div_factor": 25.0, "final_div_factor": 10000.0}
    found = describe(scheduler).params

    assert expected == {key: found[key] for key in expected}


def test_subclass() -> None:
    """A subclass has its own name, its parent's parameters and its own."""
    expected = Schedule("ShortSteps", {"step_size": 3, "gamma": 0.1, "note": "short"})

    assert expected == describe(ShortSteps(sgd(), 3))


def test_wrappers_are_opened() -> None:
    """A wrapper, also one around another, is described as the scheduler it carries."""
    inner = ls.StepLR(sgd(), 3)

    assert describe(inner) == describe(Wrapper(Wrapper(inner, []), []))


def test_wrapped_inside() -> None:
    """A wrapper inside another scheduler is opened too."""
    optimizer = sgd()
    inner = ls.StepLR(optimizer, 3)
    outer = ls.ChainedScheduler([inner])
    outer._schedulers = [Wrapper(inner, [])]

    assert [describe(inner).to_dict()] == describe(outer).params["schedulers"]


def test_unknown_scheduler() -> None:
    """Of an unknown scheduler public plain attributes are taken, and neither state nor objects."""
    scheduler = Foreign(
        sgd(), warmup=5, kind="cos", bounds=[0.1, None], options={"a": True}, much=[0] * 1000,
        helper=object(), function=halved, z=1j,
    )  # fmt: skip
    expected = Schedule(
        "Foreign", {"warmup": 5, "kind": "cos", "bounds": [0.1, None], "options": {"a": True}}
    )
    before = describe(scheduler)
    train(scheduler.optimizer, scheduler, 3)

    assert expected == before
    assert expected == describe(scheduler)


def test_attribute_called_name() -> None:
    """A parameter called `name` does not replace the schedule's name."""
    found = describe(Foreign(sgd(), name="x"))

    assert Schedule("Foreign", {"name_": "x"}) == found


class Raising:
    """Every look at it raises."""

    @property
    def gamma(self) -> float:
        raise RuntimeError("no")

    def __init__(self, gamma: float = 0.1) -> None:
        self.kept = gamma

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def step(self) -> None: ...


class Sealed:
    def __init__(self, gamma: float = 0.1) -> None:
        self.gamma = gamma

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    def __hash__(self) -> int:
        raise RuntimeError


class Disguised:
    @property
    def __class__(self) -> Any:
        raise RuntimeError

    def step(self) -> None: ...


class Generous:
    """Has whatever attribute is asked for."""

    def __getattr__(self, name: str) -> Any:
        return Generous()

    def step(self) -> None: ...


class Slotted:
    __slots__ = ("empty", "gamma", "optimizer")

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer
        self.gamma = 0.5

    def step(self) -> None: ...


class BadList(list[Any]):
    def __iter__(self) -> Any:
        raise RuntimeError

    def __len__(self) -> int:
        raise RuntimeError


def looped() -> Any:
    wrapper = Wrapper(None, [])
    wrapper.scheduler = wrapper
    return wrapper


def chained_to_itself() -> Any:
    scheduler = ls.ChainedScheduler([ls.StepLR(sgd(), 3)])
    scheduler._schedulers = [scheduler]
    return scheduler


def endless() -> Any:
    items: list[Any] = []
    items.append(items)
    return Foreign(None, items=items, table={"a": {"b": items}}, gamma=0.5)


def gutted() -> Any:
    scheduler = ls.OneCycleLR(sgd(), 0.1, 10)
    del scheduler.optimizer, scheduler._schedule_phases
    return scheduler


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (Raising, Schedule("Raising", {"kept": 0.1})),
        (Sealed, Schedule("Sealed", {"gamma": 0.1})),
        (Disguised, Schedule("Disguised")),
        (Generous, Schedule("Generous")),
        (lambda: Slotted(sgd()), Schedule("Slotted", {"gamma": 0.5})),
        (looped, Schedule("Wrapper", {"scheduler": {"name": "Wrapper"}, "split_batches": False})),
        (
            chained_to_itself,
            Schedule("ChainedScheduler", {"schedulers": [{"name": "ChainedScheduler"}]}),
        ),
        (endless, Schedule("Foreign", {"gamma": 0.5})),
        (
            lambda: Foreign(None, bad=BadList([1]), huge=10**5000, gamma=0.5),
            Schedule("Foreign", {"gamma": 0.5}),
        ),
        (lambda: Foreign(None, text="\ud800"), Schedule("Foreign", {"text": "?"})),
        (
            lambda: Foreign(None, top=math.inf, none=math.nan),
            Schedule("Foreign", {"top": "inf", "none": "nan"}),
        ),
        (
            gutted,
            Schedule(
                "OneCycleLR", {"total_steps": 10, "anneal_strategy": "cos", "cycle_momentum": True}
            ),
        ),
        (object, Schedule("object")),
        (lambda: "StepLR", Schedule("str")),
        (lambda: ls.StepLR, Schedule("type")),
    ],
)
def test_hostile_objects(make: Callable[[], Any], expected: Schedule) -> None:
    """Whatever an object does, describing it yields its class's name at least, and a stable id."""
    found = describe(make())

    assert expected == found
    assert expected.id == found.id
    assert found.flat()
