"""How far steps move the weights, compared with sums that Python computes in double precision."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import LBFGS, SGD, AdamW

from lrtrack.capture import updates
from lrtrack.capture.device_scalars import DeviceScalar, Quotient, joint, quotient, settle

from .conftest import watched
from .rounds import Pair
from .rounds import watched as watched_rounds

NAMES = ("update_norm", "weight_norm", "update_ratio")
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.complex64)
Weights = list[torch.nn.Parameter]


def copies(weights: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Return copies of the weights."""
    return [weight.detach().clone() for weight in weights]


def numbers(tensor: torch.Tensor) -> list[float]:
    """Return the real numbers in a tensor."""
    wide = torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor.detach()
    return [float(number) for number in wide.double().flatten().tolist()]


def expected(before: list[torch.Tensor], after: Iterable[torch.Tensor]) -> dict[str, float]:
    """Return the three metrics of a step from `before` to `after`."""
    old = [number for tensor in before for number in numbers(tensor)]
    new = [number for tensor in after for number in numbers(tensor)]
    update = math.sqrt(math.fsum((b - a) ** 2 for a, b in zip(old, new, strict=True)))
    weight = math.sqrt(math.fsum(a * a for a in old))
    return {"update_norm": update, "weight_norm": weight, "update_ratio": update / weight}


def of(metrics: dict[str, Any], part: str = "") -> dict[str, Any]:
    """Return the three metrics of a record, or of one part in it."""
    return {name: metrics[f"{name}{part}"] for name in NAMES}


def push(optimizer: torch.optim.Optimizer, *weights: torch.Tensor) -> None:
    """Make a step whose gradients are a half of the weights, and -1 where they are 0."""
    for weight in weights:
        weight.grad = torch.where(weight == 0, -torch.ones_like(weight), weight.detach() / 2)
    optimizer.step()


@settings(deadline=None, max_examples=40)
@given(
    shapes=st.lists(st.lists(st.integers(1, 4), max_size=3), min_size=1, max_size=4),
    dtypes=st.lists(st.sampled_from(DTYPES), min_size=1, max_size=2),
    adamw=st.booleans(),
    piece=st.sampled_from([1, 3, 2**24]),
)
def test_the_difference_of_the_weights(shapes, dtypes, adamw: bool, piece: int) -> None:
    """For all shapes and types of weights, the metrics are those of what the weights did."""
    random = torch.Generator().manual_seed(0)
    weights = [
        torch.nn.Parameter(torch.randn(shape, generator=random).to(dtypes[at % len(dtypes)]))
        for at, shape in enumerate(shapes)
    ]
    kind = AdamW if adamw else SGD
    optimizer = kind(weights, lr=0.05, weight_decay=0.1)
    truth = []
    with pytest.MonkeyPatch.context() as patch, watched(optimizer, updates=1) as recording:
        patch.setattr(updates, "_PIECE", piece)
        for _ in range(2):
            before = copies(weights)
            push(optimizer, *weights)
            truth.append(expected(before, weights))

    for metrics, step in zip(recording.metrics, truth, strict=True):
        assert pytest.approx(step, rel=1e-5, nan_ok=True) == of(metrics)


def test_weights_of_half_precision_that_round() -> None:
    """An update that bfloat16 rounds away is 0, and one that it rounds up is what it became."""
    weights = [torch.nn.Parameter(torch.tensor([256.0, 256.0], dtype=torch.bfloat16))]
    optimizer = SGD(weights, lr=1.0)
    with watched(optimizer, updates=1) as recording:
        for gradient in ([-1.0, -1.0], [-1.5, 0.0], [0.0, 3.0]):  # above 256 only even numbers
            weights[0].grad = torch.tensor(gradient, dtype=torch.bfloat16)
            optimizer.step()

    assert recording.column("update_norm") == [0.0, 2.0, 3.0]
    assert recording.column("update_ratio")[0] == 0.0
    assert pytest.approx(math.hypot(258, 256), rel=1e-7) == recording.column("weight_norm")[2]


@pytest.mark.parametrize(
    ("every", "stride", "measured"),
    [(1, 1, [0, 1, 2, 3, 4, 5, 6]), (1, 3, [0, 3, 6]), (2, 4, [0, 4]), (4, 2, [0, 4])],
)
def test_which_steps_are_measured(every: int, stride: int, measured: list[int]) -> None:
    """Each k-th step of the run is measured, if it is recorded."""
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = SGD([weight], lr=0.5)
    with watched(optimizer, every=every, updates=stride) as recording:
        for _ in range(7):
            push(optimizer, weight)

    found = [s for s, m in zip(recording.steps, recording.metrics, strict=True) if NAMES[0] in m]
    assert found == measured
    assert recording.steps == list(range(0, 7, every))


def test_steps_count_on_from_those_of_a_resumed_run() -> None:
    """The number of a step is that in the run, not in the block."""
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = SGD([weight], lr=0.5)
    with watched(optimizer, updates=4) as recording:
        recording.capture.step = 9
        for _ in range(4):
            push(optimizer, weight)

    assert recording.steps == [10, 11, 12, 13]
    assert [NAMES[0] in metrics for metrics in recording.metrics] == [False, False, True, False]


def test_what_changes_the_weights_between_steps_does_not_count() -> None:
    """Only the optimizer's own change is the update, and the weights are those right before it."""
    weight = torch.nn.Parameter(torch.full((4,), 2.0))
    optimizer = SGD([weight], lr=0.5)
    with watched(optimizer, updates=1) as recording:
        for _ in range(2):
            with torch.no_grad():
                weight.fill_(2.0)
            push(optimizer, weight)

    assert [of(metrics) for metrics in recording.metrics] == [
        {"update_norm": 1.0, "weight_norm": 4.0, "update_ratio": 0.25}
    ] * 2


def test_parameters_that_do_not_move() -> None:
    """Frozen parameters and those without a gradient count as weights, with an update of 0."""
    frozen = torch.nn.Parameter(torch.full((1,), 3.0), requires_grad=False)
    idle = torch.nn.Parameter(torch.zeros(2))
    moving = torch.nn.Parameter(torch.full((4,), 2.0))
    whole = torch.nn.Parameter(torch.ones(2, dtype=torch.int64), requires_grad=False)
    lazy = torch.nn.LazyLinear(2).weight
    named = {"a": frozen, "b": idle, "c": moving, "d": whole, "e": lazy}
    groups = [{"params": [parameter], "name": name} for name, parameter in named.items()]
    optimizer = SGD(groups, lr=0.5)
    with watched(optimizer, updates=1, norms="group") as recording:
        push(optimizer, moving)
    (metrics,) = recording.metrics

    assert of(metrics) == {"update_norm": 1.0, "weight_norm": 5.0, "update_ratio": 0.2}
    assert of(metrics, "/a") == {"update_norm": 0.0, "weight_norm": 3.0, "update_ratio": 0.0}
    assert of(metrics, "/b") == {"update_norm": 0.0, "weight_norm": 0.0, "update_ratio": 0.0}
    assert of(metrics, "/c") == {"update_norm": 1.0, "weight_norm": 4.0, "update_ratio": 0.25}
    assert not {"update_norm/d", "weight_norm/d", "update_norm/e", "weight_norm/e"} & set(metrics)


def test_weights_that_begin_at_zero() -> None:
    """The ratio of an update to weights that are all 0 is infinite, and NaN stays NaN."""
    weight = torch.nn.Parameter(torch.zeros(4))
    optimizer = SGD([weight], lr=0.5)
    with watched(optimizer, updates=1) as recording:
        push(optimizer, weight)
        weight.grad = torch.full((4,), math.nan)
        optimizer.step()

    assert recording.column("update_ratio")[0] == math.inf
    assert recording.column("weight_norm") == [0.0, 1.0]
    assert math.isnan(recording.column("update_norm")[1])
    assert math.isnan(recording.column("update_ratio")[1])


@pytest.mark.parametrize("norms", ["global", "group", "layer", "off"])
def test_parts(make, norms: str) -> None:
    """Each group or parameter has its own metrics, as for gradients; "off" leaves the whole."""
    model, loss = make()
    first, second = list(model[0].parameters()), list(model[3].parameters())
    groups = [{"params": first}, {"params": second, "name": "head", "lr": 0.5}]
    optimizer = SGD(groups, lr=0.1)
    named = dict(model.named_parameters())
    parts = {
        "global": {}, "off": {}, "group": {"/0": first, "/head": second},
        "layer": {f"/{name}": [parameter] for name, parameter in named.items()},
    }[norms]  # fmt: skip
    before = {part: copies(weights) for part, weights in parts.items()}
    all_before = copies(model.parameters())
    with watched(optimizer, updates=1, norms=norms, model=model) as recording:
        loss().backward()
        optimizer.step()
    (metrics,) = recording.metrics

    assert pytest.approx(expected(all_before, model.parameters()), rel=1e-6) == of(metrics)
    for part, weights in parts.items():
        assert pytest.approx(expected(before[part], weights), rel=1e-6) == of(metrics, part)
    names = {f"{name}{part}" for name in NAMES for part in ("", *parts)}
    assert names == {name for name in metrics if name.partition("/")[0] in NAMES}


def test_a_closure(make) -> None:
    """With a closure, the update is that of the whole step, whatever it tried out."""
    model, loss = make()
    optimizer = LBFGS(model.parameters(), max_iter=4, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    truth = []
    with watched(optimizer, updates=1) as recording:
        for _ in range(3):
            before = copies(model.parameters())
            optimizer.step(closure)
            truth.append(expected(before, model.parameters()))

    assert [pytest.approx(step, rel=1e-5) for step in truth] == [of(m) for m in recording.metrics]


class Doubled(SGD):
    """Steps twice through its parent, as wrappers of optimizers do."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Make two steps of SGD."""
        super().step()
        super().step()


def test_a_step_inside_a_step() -> None:
    """Steps that a subclass makes of its parent belong to the whole step."""
    weight = torch.nn.Parameter(torch.full((4,), 2.0))
    optimizer = Doubled([weight], lr=0.5)
    with watched(optimizer, updates=1) as recording:
        push(optimizer, weight)

    assert [of(metrics) for metrics in recording.metrics] == [
        {"update_norm": 2.0, "weight_norm": 4.0, "update_ratio": 0.5}
    ]


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_a_scaler_skips(fused: bool) -> None:
    """A skipped step has no record, so the next one is measured in its place."""
    weight = torch.nn.Parameter(torch.full((4,), 2.0))
    optimizer = SGD([weight], lr=0.5, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    with watched(optimizer, updates=2) as recording:
        for gradient in (math.inf, 1.0, 1.0, 1.0):
            optimizer.zero_grad()
            scaler.scale((weight * gradient).sum()).backward()
            scaler.step(optimizer)
            scaler.update()

    assert recording.column("update_norm") == [1.0, None, 1.0]
    assert recording.column("weight_norm") == [4.0, None, 2.0]


def test_copies_live_no_longer_than_the_step() -> None:
    """No copy of the weights is left after a step, nor after the step that follows a failed one."""

    def alive() -> int:
        tensors = [held for held in gc.get_objects() if type(held) in (torch.Tensor, type(weight))]
        return sum(tensor.shape == (7, 11) for tensor in tensors)

    weight = torch.nn.Parameter(torch.ones(7, 11))
    optimizer = SGD([weight], lr=0.5)
    weight.grad = torch.ones(7, 11)
    counts = [alive()]

    def fail(*_: Any) -> None:
        counts.append(alive())
        raise ZeroDivisionError

    with watched(optimizer, updates=2) as recording:
        optimizer.step()
        counts.append(alive())
        optimizer.step()
        failing = optimizer.register_step_pre_hook(fail)
        with pytest.raises(ZeroDivisionError):
            optimizer.step()
        failing.remove()
        optimizer.step()
        counts.append(alive())

    assert counts == [2, 2, 3, 2]
    assert recording.column("update_norm") == [
        pytest.approx(math.sqrt(77) / 2),
        None,
        pytest.approx(math.sqrt(77) / 2),
    ]


def test_weights_that_cannot_be_copied(recwarn: pytest.WarningsRecorder) -> None:
    """If the memory for a copy is missing, the training goes on, and one warning says so."""

    class Large(torch.nn.Parameter):
        def clone(self, **options: Any) -> Any:
            raise MemoryError("too large")

        def detach(self) -> Any:
            return self

    weight = Large(torch.ones(2))
    optimizer = SGD([weight], lr=0.5, foreach=False)
    with watched(optimizer, updates=1) as recording:
        for _ in range(2):
            weight.grad = torch.ones(2)
            optimizer.step()

    assert recording.column("lr") == [0.5, 0.5]
    assert recording.column("update_norm") == [None, None]
    assert [str(each.message) for each in recwarn] == [
        "lrtrack could not observe the update: MemoryError('too large'). Training is not affected."
    ]


def test_nothing_is_read_from_a_device() -> None:
    """On a device that cannot be read from, all metrics are held until they are fetched."""
    weights = [torch.nn.Parameter(torch.ones(3, device="meta", dtype=d)) for d in DTYPES[1:3]]
    optimizer = SGD(weights, lr=0.5)
    with watched(optimizer, updates=1) as recording:
        for weight in weights:
            weight.grad = torch.ones_like(weight)
        optimizer.step()
    (metrics,) = recording.metrics

    kinds = [type(metrics[name]) for name in NAMES]
    assert kinds == [DeviceScalar, DeviceScalar, Quotient]


def test_quotients_of_numbers_on_a_device() -> None:
    """Numbers on a device are divided once they are fetched; one that is 0 stays 0."""
    three, four, zero = (
        DeviceScalar(torch.tensor(n, dtype=torch.float64)) for n in (3.0, 4.0, 0.0)
    )
    five = joint([three, four])
    rows = [
        (0, 0.0, {"a": five, "b": quotient(five, four), "c": quotient(zero, zero), "d": three}),
        (1, 0.0, {"a": quotient(three, zero), "b": quotient(1.0, 8.0), "c": quotient(2.0, four)}),
    ]
    settle(rows)

    assert [row[2] for row in rows] == [
        {"a": 5.0, "b": 1.25, "c": 0.0, "d": 3.0},
        {"a": math.inf, "b": 0.125, "c": 0.5},
    ]


def test_rounds_of_several_optimizers() -> None:
    """Each optimizer that steps has its metrics; those over all count weights that rest, too."""
    pair = Pair()
    with torch.no_grad():
        pair.one.fill_(3.0)
        pair.two.fill_(4.0)
    adamw = SGD([pair.two], lr=0.25)
    with watched_rounds({"muon": pair.muon, "adamw": adamw}, updates=2) as records:
        for steppers in ((pair.muon,), (pair.muon, adamw), (pair.muon, adamw)):
            pair.loss(1.0, one=2.0, two=4.0).backward()
            for optimizer in steppers:
                optimizer.step()
    first, second, third = (records.rows[step] for step in range(3))

    assert of(first) == {"update_norm": 1.0, "weight_norm": 5.0, "update_ratio": 0.2}
    assert of(first, "/muon") == {
        "update_norm": 1.0, "weight_norm": 3.0, "update_ratio": 1.0 / 3.0
    }  # fmt: skip
    assert "weight_norm/adamw" not in first
    assert not any(name.startswith(NAMES) for name in second)
    assert of(third, "/muon") == {"update_norm": 1.0, "weight_norm": 1.0, "update_ratio": 1.0}
    assert of(third, "/adamw") == {
        "update_norm": 1.0, "weight_norm": 3.0, "update_ratio": 1.0 / 3.0
    }  # fmt: skip
    root = {"update_norm": math.sqrt(2), "weight_norm": math.sqrt(10)}
    assert pytest.approx(root | {"update_ratio": math.sqrt(0.2)}) == of(third)


@pytest.mark.parametrize("every", [1, 2])
def test_optimizers_that_step_in_backward(make, every: int) -> None:
    """Each optimizer's own update counts, and each parameter's weights before the pass."""
    model, loss = make()
    inner = {p: SGD([p], lr=0.1) for p in model.parameters()}

    def step(parameter: torch.Tensor) -> None:
        inner[parameter].step()  # type: ignore[index]
        inner[parameter].zero_grad()  # type: ignore[index]

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    truth = []
    with watched_rounds(inner, updates=2, every=every, norms="layer", model=model) as records:
        for _ in range(3):
            before = copies(model.parameters())
            loss().backward()
            truth.append(expected(before, model.parameters()))
    measured = {step: row for step, row in records.rows.items() if NAMES[0] in row}

    assert list(measured) == [0, 2]
    for at, row in measured.items():
        assert pytest.approx(truth[at], rel=1e-6) == of(row)
        parts = [row[f"update_norm/{name}"] for name, _ in model.named_parameters()]
        assert pytest.approx(truth[at]["update_norm"], rel=1e-6) == math.hypot(*parts)
