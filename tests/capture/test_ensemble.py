"""Which optimizers a training has, their names, and the scheduler of each."""

from __future__ import annotations

import re
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, StepLR

from lrtrack.capture.ensemble import ensemble_of
from lrtrack.errors import UsageError
from lrtrack.schedules import CONSTANT, Schedule, parts_of


def sgd() -> SGD:
    """Return an optimizer of one parameter."""
    return SGD([torch.nn.Parameter(torch.ones(2))], lr=0.5)


def adam() -> Adam:
    """Return another kind of optimizer."""
    return Adam([torch.nn.Parameter(torch.ones(2))], lr=0.25)


def names(ensemble: Any) -> list[str]:
    """Return the names of the optimizers."""
    return [part.name for part in ensemble.parts]


def test_names_are_keys_or_classes() -> None:
    """Optimizers are called by the mapping's keys, else by their classes, numbered if repeated."""
    assert names(ensemble_of({"muon": sgd(), "adamw": adam()})) == ["muon", "adamw"]
    assert names(ensemble_of([sgd(), adam()])) == ["SGD", "Adam"]
    assert names(ensemble_of([adam(), sgd(), adam()])) == ["Adam_1", "SGD", "Adam_2"]


@pytest.mark.parametrize("form", [lambda o: [o], lambda o: (o,), lambda o: {"only": o}])
def test_a_single_optimizer_in_a_list_is_alone(form) -> None:
    """A list of one optimizer is that optimizer, without a name."""
    optimizer = sgd()
    (part,) = ensemble_of(form(optimizer)).parts

    assert (part.name, part.optimizer) == ("", optimizer)


@pytest.mark.parametrize("attribute", ["optimizer", "base", "opt", "optim", "_optimizer"])
def test_wrappers_are_opened(attribute: str) -> None:
    """A wrapper may keep its optimizer under any of the usual names, also inside a list."""
    inner, other = sgd(), adam()
    wrapper = SimpleNamespace(**{attribute: inner})

    assert ensemble_of(wrapper).first is inner
    assert [part.optimizer for part in ensemble_of([wrapper, other]).parts] == [inner, other]


def test_containers_are_opened_with_their_schedulers() -> None:
    """A container's optimizers are those of the training, with its schedulers in their order."""
    one, two = sgd(), adam()
    schedulers = [StepLR(one, 5), ExponentialLR(two, 0.5)]
    step = SimpleNamespace(step=lambda: None)
    container = SimpleNamespace(optimizers=[one, two], **vars(step))
    named = SimpleNamespace(optimizers={"a": one, "b": two}, **vars(step))
    scheduler = SimpleNamespace(schedulers=schedulers, **vars(step))
    swapped = SimpleNamespace(schedulers=schedulers[::-1], **vars(step))

    for given in (scheduler, swapped, schedulers):
        assert [part.scheduler for part in ensemble_of(container, given).parts] == schedulers
    assert names(ensemble_of(named, scheduler)) == ["a", "b"]


def test_schedulers_match_their_optimizers() -> None:
    """Schedulers come in the form of the optimizers; one object goes where it belongs."""
    one, two = sgd(), adam()
    first, second = StepLR(one, 5), CosineAnnealingLR(two, 9)
    both = {"a": one, "b": two}

    def matched(optimizers: Any, schedulers: Any) -> list[Any]:
        return [part.scheduler for part in ensemble_of(optimizers, schedulers).parts]

    assert matched([one, two], [first, second]) == [first, second]
    assert matched([one, two], [None, second]) == [None, second]
    assert matched(both, {"b": second, "a": first}) == [first, second]
    assert matched([one, two], second) == [None, second]
    assert matched([one, two], None) == [None, None]
    assert matched([one, two], Schedule("x")) == [Schedule("x")] * 2


@pytest.mark.parametrize(
    ("optimizers", "schedulers", "words"),
    [
        (lambda a, b: [a, b], lambda a, b: [None], "There are 2 optimizers, but 1 schedulers"),
        (lambda a, b: [a, b], lambda a, b: {"a": None}, "The schedulers have names"),
        (lambda a, b: {"a": a, "b": b}, lambda a, b: [None, None], "The optimizers have names"),
        (lambda a, b: {"a": a, "b": b}, lambda a, b: {"a": None}, "are called a, b, but the sch"),
        (lambda a, b: a, lambda a, b: [StepLR(a, 1), StepLR(a, 2)], "several schedulers for one"),
        (lambda a, b: [a, b, a], lambda a, b: None, "listed twice"),
        (lambda a, b: [], lambda a, b: None, "at least one"),
        (lambda a, b: {"": a, "b": b}, lambda a, b: None, "name of an optimizer must be text"),
        (lambda a, b: {3: a, "b": b}, lambda a, b: None, "name of an optimizer must be text"),
    ],
)
def test_what_does_not_match_is_an_error(optimizers, schedulers, words: str) -> None:
    """Numbers, names and forms that do not match are errors that say how to mend them."""
    one, two = sgd(), adam()
    with pytest.raises(UsageError, match=words):
        ensemble_of(optimizers(one, two), schedulers(one, two))


def test_what_is_no_optimizer_is_named_with_its_module() -> None:
    """The error for another object has the full name of its class, and says what to pass."""

    class Optimizer:
        pass

    name = re.escape(f"{__name__}.{Optimizer.__qualname__}")
    for given in (Optimizer(), [sgd(), Optimizer()]):
        with pytest.raises(TypeError, match=rf"got {name}\. Fix: pass the torch optimizer"):
            ensemble_of(given)


class Container:
    """Has what it is given in `.optimizers`, and a step of its own."""

    def __init__(self, optimizers: Any) -> None:
        self.optimizers = optimizers

    def step(self) -> None:
        """Does nothing."""


class Stepping:
    """Makes steps in ways that nothing shows."""

    def step(self) -> None:
        """Does nothing."""


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda o: [o, None], r"got NoneType\. Fix: pass the torch optimizer"),
        (lambda o: SGD, r"got the class torch\.optim\.sgd\.SGD\. Fix: create it first"),
        (lambda o: list(o.param_groups[0]["params"]), "Parameter.*instead of the parameters"),
        (lambda o: torch.nn.Linear(1, 1), r"linear\.Linear\. Fix: pass the optimizer first"),
        (lambda o: StepLR(o, 1), r"lr_scheduler\.StepLR\. Fix: pass the optimizer first"),
        (lambda o: Container([]), r"Container\. Fix: its \.optimizers is empty; pass"),
        (lambda o: Container([o, None]), r"its \.optimizers holds NoneType, which has no step"),
        (lambda o: Stepping(), r"Stepping\. Fix: .*pass None, and call run\.record\(lr="),
        (lambda o: "adam", r"got str\. Fix: pass the torch optimizer that makes the steps, a wrap"),
    ],
)
def test_refusals_say_what_to_write_instead(wrong: Any, words: str) -> None:
    """Each kind of object that is no optimizer is refused with its full class and the remedy."""
    with pytest.raises(TypeError, match=f"expects a torch.optim.Optimizer.*{words}"):
        ensemble_of(wrong(sgd()))


def test_a_container_of_more_schedulers_than_optimizers_is_refused() -> None:
    """A container's schedulers are counted like a list's."""
    one, two = sgd(), adam()
    schedulers = [StepLR(one, 1), StepLR(two, 1), StepLR(two, 2)]
    container = SimpleNamespace(schedulers=schedulers, step=lambda: None)

    with pytest.raises(UsageError, match="2 optimizers, but 3 schedulers"):
        ensemble_of(Container([one, two]), container)


def test_fastais_own_optimizer_is_refused_with_what_to_write() -> None:
    """fastai has optimizers that are none of torch's; the error says how to have it use those."""
    own = type("Optimizer", (), {"__module__": "fastai.optimizer", "step": lambda self: None})

    with pytest.raises(TypeError, match=r"got fastai\.optimizer\.Optimizer\. Fix: .*OptimWrapper"):
        ensemble_of(own())


def test_optimizers_of_single_parameters_have_no_names() -> None:
    """Mappings of parameters, and objects with one, are optimizers that count as one."""
    weights = [torch.nn.Parameter(torch.zeros(())) for _ in range(3)]
    inner = {weight: SGD([weight], lr=0.5) for weight in weights}
    schedulers = {weight: StepLR(own, 2) for weight, own in inner.items()}
    names = {f"w{at}": own for at, own in enumerate(inner.values())}
    forms = [(inner, schedulers)] + [
        (SimpleNamespace(**{attribute: held}), schedulers[weights[0]])
        for attribute in ("optim_dict", "optimizer_dict", "optim_map")
        for held in (inner, names)
    ]
    rest = adam()
    offloaded = ensemble_of(SimpleNamespace(optim_dict=inner, d_opt=rest))
    assert [part.optimizer for part in offloaded.parts] == [*inner.values(), rest]

    for optimizer, scheduler in forms:
        ensemble = ensemble_of(optimizer, scheduler)
        assert [part.optimizer for part in ensemble.parts] == list(inner.values())
        assert [part.name for part in ensemble.parts] == ["", "", ""]
        assert ensemble.by_backward
        assert ensemble.parts[0].scheduler is schedulers[weights[0]]
        assert ensemble.schedule() == Schedule("StepLR", {"step_size": 2, "gamma": 0.1})


class _Trainer:
    """Keeps optimizers by parameter, and steps them in a method."""

    def __init__(self, inner: dict[Any, Any]) -> None:
        self.inner = inner

    def hook(self, weight: torch.Tensor) -> None:
        """Step one of them."""
        self.inner[weight].step()


_everywhere: dict[Any, Any] = {}


@pytest.mark.parametrize("form", ["closure", "global", "partial", "method", "own closure"])
def test_optimizers_are_found_in_the_hooks_of_the_parameters(form: str) -> None:
    """An optimizer whose parameters have others in their hooks stands for those."""
    weights = [torch.nn.Parameter(torch.zeros(())) for _ in range(3)]
    inner = {weight: SGD([weight], lr=0.5) for weight in weights}
    _everywhere.clear()
    _everywhere.update(inner)
    for weight in weights:
        own = inner[weight]
        hook: Any = {
            "closure": lambda w: inner[w].step(),
            "global": lambda w: _everywhere[w].step(),
            "partial": partial(lambda held, w: held[w].step(), inner),
            "method": _Trainer(inner).hook,
            "own closure": lambda w, own=own: own.step(),
        }[form]
        weight.register_post_accumulate_grad_hook(hook)
    outer = SGD(weights, lr=0.25)
    scheduler = StepLR(outer, 2)
    ensemble = ensemble_of(outer, scheduler)

    assert [part.optimizer for part in ensemble.parts] == list(inner.values())
    assert ensemble.containers == (outer,)
    assert ensemble.parts[0].moved is outer
    assert ensemble.parts[0].scheduler is scheduler


def test_hooks_that_do_other_things_change_nothing() -> None:
    """Hooks that step the optimizer itself, or reach not all of its parameters, are left alone."""
    weights = [torch.nn.Parameter(torch.zeros(())) for _ in range(2)]
    outer, beside = SGD(weights, lr=0.5), SGD([weights[0]], lr=0.5)
    weights[0].register_post_accumulate_grad_hook(lambda w: beside.step())
    assert [part.optimizer for part in ensemble_of(outer).parts] == [outer]

    alone = torch.nn.Parameter(torch.zeros(()))
    itself = SGD([alone], lr=0.5)
    alone.register_post_accumulate_grad_hook(lambda w: itself.step())
    assert [part.optimizer for part in ensemble_of(itself).parts] == [itself]


def test_optimizers_of_single_parameters_cannot_share_a_run_under_a_name() -> None:
    """Hundreds of optimizers behind one name would be hundreds of metrics."""
    weight = torch.nn.Parameter(torch.zeros(()))
    held = SimpleNamespace(optim_dict={weight: SGD([weight], lr=0.5)})

    with pytest.raises(UsageError, match="'g' is a container of one optimizer per parameter"):
        ensemble_of({"g": held, "d": sgd()})


def test_the_schedule_is_that_of_each_by_name() -> None:
    """The schedule holds each optimizer's under its name, equal whatever the order."""
    one, two = sgd(), adam()
    first, second = CosineAnnealingLR(one, 10), StepLR(two, 3)
    schedule = ensemble_of({"muon": one, "adamw": two}, {"muon": first, "adamw": second}).schedule()
    turned = ensemble_of({"adamw": two, "muon": one}, {"muon": first, "adamw": second}).schedule()

    assert schedule.to_dict() == {
        "name": "StepLR + CosineAnnealingLR",
        "adamw": {"name": "StepLR", "step_size": 3, "gamma": 0.1},
        "muon": {"name": "CosineAnnealingLR", "T_max": 10, "eta_min": 0},
    }
    assert (turned, turned.id) == (schedule, schedule.id)
    assert parts_of(schedule)["adamw"] == Schedule("StepLR", {"step_size": 3, "gamma": 0.1})
    assert ensemble_of([one, two]).schedule() == Schedule(CONSTANT)


def test_the_optimizers_are_described_by_name() -> None:
    """Each hyper-parameter has the name of its optimizer."""
    described = ensemble_of({"muon": sgd(), "adamw": adam()}).optimizer()

    assert described["name"] == "Adam + SGD"
    assert (described["muon.name"], described["adamw.name"]) == ("SGD", "Adam")
    assert (described["muon.lr"], described["adamw.lr"]) == (0.5, 0.25)
