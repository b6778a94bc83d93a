"""Each step's record holds what that step used, and training does not notice."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import pytest
import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CyclicLR,
    ExponentialLR,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
)

from lrtrack.capture.step_capture import nested
from lrtrack.errors import LRTrackWarning


def equal(left: Any, right: Any) -> bool:
    """Bit-equality of nested state."""
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    return left == right


def hooks(optimizer: torch.optim.Optimizer) -> int:
    """Step hooks that hang on an optimizer."""
    return len(optimizer._optimizer_step_pre_hooks) + len(optimizer._optimizer_step_post_hooks)


def test_learning_rate_is_the_one_the_step_used(make, watch) -> None:
    """`lr` is read before the scheduler moves it, at every step, with the time of the step."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    scheduler = StepLR(optimizer, 3, gamma=0.5)
    truth = []
    with watch(optimizer, scheduler) as seen:
        for _ in range(8):
            optimizer.zero_grad()
            loss().backward()
            truth.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()

    assert seen.steps == list(range(8))
    assert seen.times == [float(step) for step in range(8)]
    assert seen.column("lr") == truth == [0.1] * 3 + [0.05] * 3 + [0.025] * 2
    assert seen.metrics[0].keys() == {"lr", "grad_norm", "loss"}


def test_learning_rates_of_several_groups(make, watch) -> None:
    """Each group has its own: by its name, else by its index; `lr` is that of group 0."""
    model, loss = make()
    groups = [
        {"params": model[0].parameters(), "lr": 0.5, "name": "head"},
        {"params": model[3].parameters(), "lr": torch.tensor(0.25)},
    ]
    optimizer = SGD(groups, lr=1.0)
    with watch(optimizer, norms="off", capture_loss=False) as seen:
        loss().backward()
        optimizer.step()
        optimizer.param_groups[0]["lr"] = 0.125
        optimizer.step()

    assert seen.metrics == [
        {"lr": 0.5, "lr/head": 0.5, "lr/1": 0.25},
        {"lr": 0.125, "lr/head": 0.125, "lr/1": 0.25},
    ]


def test_a_learning_rate_that_is_a_tensor_is_read_when_it_is_used(make, watch) -> None:
    """A tensor that a scheduler overwrites later does not change the record."""
    model, loss = make()
    optimizer = Adam(model.parameters(), lr=torch.tensor(0.5), foreach=False)
    scheduler = ExponentialLR(optimizer, 0.5)
    with watch(optimizer, scheduler) as seen:
        for _ in range(3):
            loss().backward()
            optimizer.step()
            scheduler.step()

    assert seen.column("lr") == [0.5, 0.25, 0.125]


@pytest.mark.parametrize("max_norm", [0.01, 1e6], ids=["clipped", "left as it was"])
def test_norms_before_and_after_clipping(make, watch, norm_of, max_norm: float) -> None:
    """`grad_norm` is what the optimizer gets, `grad_norm_preclip` what clipping found."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    before, after = [], []
    with watch(optimizer) as seen:
        for _ in range(4):
            optimizer.zero_grad()
            loss().backward()
            before.append(float(clip_grad_norm_(model.parameters(), max_norm)))
            after.append(norm_of(model.parameters()))
            optimizer.step()

    assert seen.column("grad_norm_preclip") == before
    assert seen.column("grad_norm") == pytest.approx(after, rel=1e-6)


def test_preclip_is_recorded_only_where_clipping_was(make, watch) -> None:
    """A step without clipping has no `grad_norm_preclip`, not that of the step before."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    with watch(optimizer) as seen:
        for step in range(4):
            loss().backward()
            if step == 1:
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

    assert [value is not None for value in seen.column("grad_norm_preclip")] == [
        False,
        True,
        False,
        False,
    ]


def test_lbfgs_is_one_record_a_step(make, watch, norm_of) -> None:
    """With a closure evaluated many times, loss and norm are those of its first evaluation."""
    model, loss = make()
    model.eval()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=5)
    first: list[tuple[float, float]] = []
    calls = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        calls.append((value.item(), norm_of(model.parameters())))
        return value

    with watch(optimizer) as seen:
        for _ in range(3):
            before = len(calls)
            returned = optimizer.step(closure)
            first.append(calls[before])
            assert returned.item() == calls[before][0]

    assert len(calls) > 6
    assert seen.steps == [0, 1, 2]
    assert seen.column("loss") == [value for value, _ in first]
    assert seen.column("grad_norm") == pytest.approx([norm for _, norm in first], rel=1e-6)


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_closures_returned_loss_counts(make, watch, by_name: bool, scale: float) -> None:
    """What the closure returns is the loss, whatever backward was called on."""
    model, loss = make()
    model.eval()
    optimizer = SGD(model.parameters(), lr=0.1)
    truth = []

    def closure() -> float:
        optimizer.zero_grad()
        value = loss()
        (value * scale).backward()
        truth.append(value.item())
        return value.item()

    with watch(optimizer) as seen:
        for _ in range(3):
            given = {"closure": closure} if by_name else {}
            assert optimizer.step(*([] if by_name else [closure]), **given) == truth[-1]

    assert seen.column("loss") == truth


@pytest.mark.parametrize("accumulates", [True, False])
def test_a_closure_may_be_the_last_of_several_micro_batches(make, watch, accumulates: bool) -> None:
    """Then what was seen before counts as well, once; else the closure's own loss alone."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    truth = []

    def closure() -> torch.Tensor:
        value = loss() / 2
        value.backward()
        truth.append(value.item())
        return value

    with watch(optimizer) as seen:
        seen.capture.accumulates = accumulates
        for _ in range(3):
            optimizer.zero_grad()
            closure()
            optimizer.step(closure)

    pairs = list(zip(truth[::2], truth[1::2], strict=True))
    assert seen.column("loss") == [a + b if accumulates else b for a, b in pairs]


def test_a_closure_that_only_clips_keeps_the_loss(make, watch, norm_of) -> None:
    """What backward was called on before it, and the norm that the clipping found."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    truth, found = [], []

    def closure() -> None:
        found.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01).item())

    with watch(optimizer) as seen:
        for _ in range(2):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            truth.append(value.item())
            optimizer.step(closure)

    assert seen.column("loss") == truth
    assert seen.column("grad_norm_preclip") == found
    assert seen.column("grad_norm")[-1] == pytest.approx(norm_of(model.parameters()))


def test_a_closure_that_returns_nothing_leaves_its_backward(make, watch) -> None:
    """Without a returned loss, the one that backward was called on is the loss."""
    model, loss = make()
    model.eval()
    optimizer = SGD(model.parameters(), lr=0.1)
    truth = []

    def closure() -> None:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        truth.append(value.item())

    with watch(optimizer) as seen:
        optimizer.step(closure)
        optimizer.step(closure)

    assert seen.column("loss") == truth


@pytest.mark.parametrize(
    ("optimizer_of", "scheduler_of", "read"),
    [
        (
            lambda p: SGD(p, lr=0.1, momentum=0.9),
            lambda o: OneCycleLR(o, 0.1, total_steps=10),
            lambda group: group["momentum"],
        ),
        (
            lambda p: Adam(p, lr=0.1),
            lambda o: OneCycleLR(o, 0.1, total_steps=10),
            lambda group: group["betas"][0],
        ),
        (
            lambda p: SGD(p, lr=0.1, momentum=0.9),
            lambda o: CyclicLR(o, 0.01, 0.1, step_size_up=3),
            lambda group: group["momentum"],
        ),
        (
            lambda p: SGD(p, lr=0.1, momentum=0.9),
            lambda o: ChainedScheduler(
                [ExponentialLR(o, 0.9), OneCycleLR(o, 0.1, total_steps=10)], optimizer=o
            ),
            lambda group: group["momentum"],
        ),
    ],
    ids=["OneCycleLR", "OneCycleLR on Adam", "CyclicLR", "inside ChainedScheduler"],
)
def test_momentum_where_the_schedule_moves_it(
    make, watch, optimizer_of, scheduler_of, read
) -> None:
    """Cycled momentum is recorded from the first step on, as the step used it."""
    model, loss = make()
    optimizer = optimizer_of(model.parameters())
    scheduler = scheduler_of(optimizer)
    truth = []
    with watch(optimizer, scheduler) as seen:
        for _ in range(8):
            loss().backward()
            truth.append(read(optimizer.param_groups[0]))
            optimizer.step()
            scheduler.step()

    assert len(set(truth)) > 2
    assert seen.column("momentum") == truth


@pytest.mark.parametrize(
    "scheduler_of",
    [
        lambda o: None,
        lambda o: StepLR(o, 2),
        lambda o: OneCycleLR(o, 0.1, total_steps=10, cycle_momentum=False),
        lambda o: CyclicLR(o, 0.01, 0.1, cycle_momentum=False),
    ],
)
def test_momentum_that_stands_still_is_no_metric(make, watch, scheduler_of) -> None:
    """Where nothing moves the momentum, it is a parameter of the optimizer and not recorded."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = scheduler_of(optimizer)
    with watch(optimizer, scheduler) as seen:
        for _ in range(3):
            loss().backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()

    assert seen.column("momentum") == [None] * 3


def test_momentum_moved_by_hand_is_recorded_from_there_on(make, watch) -> None:
    """A schedule of the user's own that moves momentum is noticed."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    with watch(optimizer) as seen:
        for step in range(4):
            optimizer.param_groups[0]["momentum"] = (0.9, 0.9, 0.5, 0.9)[step]
            loss().backward()
            optimizer.step()

    assert seen.column("momentum") == [None, None, 0.5, 0.9]


class Wrapper:
    """A user's schedule with another inside."""

    def __init__(self, **inner: Any) -> None:
        self.__dict__.update(inner)

    def step(self, value: float) -> None:
        """Step whatever is inside."""
        for each in [*getattr(self, "_schedulers", []), getattr(self, "scheduler", None)]:
            if each is not None:
                each.step(value)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda plateau: plateau,
        lambda plateau: Wrapper(scheduler=plateau),
        lambda plateau: Wrapper(_schedulers=[Wrapper(scheduler=plateau)]),
    ],
    ids=["plain", "wrapped", "nested twice"],
)
def test_the_plateau_metric_is_heard(make, watch, wrap) -> None:
    """Each value given to the schedule is told, as a number or as a tensor, by name or not."""
    model, _ = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    plateau, other = ReduceLROnPlateau(optimizer), ReduceLROnPlateau(optimizer)
    with watch(optimizer, wrap(plateau)) as seen:
        wrap(plateau).step(0.5)
        plateau.step(torch.tensor(0.25))
        plateau.step(metrics=float("inf"))
        other.step(9.0)
    plateau.step(8.0)

    assert seen.plateau == [0.5, 0.25, float("inf")]
    assert plateau.last_epoch == 4


def test_every_keeps_the_first_of_each_k(make, watch) -> None:
    """Steps 0, 3, 6 are recorded, each with its own loss and norm."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    truth = []
    with watch(optimizer, every=3) as seen:
        for _ in range(8):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            truth.append((value.item(), float(clip_grad_norm_(model.parameters(), 1e6))))
            optimizer.step()

    assert seen.capture.step == 7
    assert seen.steps == [0, 3, 6]
    assert list(zip(seen.column("loss"), seen.column("grad_norm_preclip"), strict=True)) == [
        truth[0],
        truth[3],
        truth[6],
    ]


def test_every_with_a_closure(make, watch) -> None:
    """Only the recorded steps' closures are looked at."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    truth = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        truth.append(value.item())
        return value

    with watch(optimizer, every=2) as seen:
        for _ in range(5):
            optimizer.step(closure)

    assert (seen.steps, seen.column("loss")) == ([0, 2, 4], truth[::2])


def test_losses_are_left_alone_where_that_is_asked(make, watch) -> None:
    """`capture_loss=False` records none, neither from backward nor from a closure."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)

    def closure() -> torch.Tensor:
        value = loss()
        value.backward()
        return value

    with watch(optimizer, capture_loss=False) as seen:
        loss().backward()
        optimizer.step()
        optimizer.step(closure)

    assert [metrics.keys() for metrics in seen.metrics] == [{"lr", "grad_norm"}] * 2


class Breaks(SGD):
    """An optimizer whose step can be made to fail."""

    broken: Exception | None = None

    def step(self, closure: Any = None) -> Any:
        """Fail, or step."""
        if self.broken is not None:
            raise self.broken
        return super().step(closure)


def test_a_step_that_calls_its_parents_step_is_one_step(make, watch) -> None:
    """torch runs the hooks once for each class's `step`; the record is made once."""
    model, loss = make()
    SGD(model.parameters(), lr=0.1)  # from here on torch's hooks are in SGD.step as well
    optimizer = Breaks(model.parameters(), lr=0.1)
    truth = []
    with watch(optimizer) as seen:
        for _ in range(3):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            truth.append(value.item())
            optimizer.step()

    assert seen.steps == [0, 1, 2]
    assert seen.column("loss") == truth


def test_a_step_that_raises_is_not_counted(make, watch) -> None:
    """The exception is the user's own; the next step has the next number and only its loss."""
    model, loss = make()
    optimizer = Breaks(model.parameters(), lr=0.1)
    truth, mine = [], ZeroDivisionError("mine")
    with watch(optimizer) as seen:
        for step in range(4):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            optimizer.broken = mine if step == 1 else None
            if step == 1:
                with pytest.raises(ZeroDivisionError) as caught:
                    optimizer.step()
            else:
                truth.append(value.item())
                optimizer.step()

    assert caught.value is mine
    assert seen.steps == [0, 1, 2]
    assert seen.column("loss") == truth


def test_a_step_tried_again_keeps_its_loss(make, watch) -> None:
    """A step that fails and then works, on the same gradients, has the loss they came from."""
    model, loss = make()
    optimizer = Breaks(model.parameters(), lr=0.1)
    with watch(optimizer) as seen:
        value = loss()
        value.backward()
        optimizer.broken = ZeroDivisionError()
        with pytest.raises(ZeroDivisionError):
            optimizer.step()
        optimizer.broken = None
        optimizer.step()

    assert seen.column("loss") == [value.item()]


def test_a_closure_that_raises_is_not_counted(make, watch) -> None:
    """The exception is the user's own, and the step is none."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    mine = ZeroDivisionError("mine")

    def closure() -> torch.Tensor:
        raise mine

    with watch(optimizer) as seen:
        with pytest.raises(ZeroDivisionError) as caught:
            optimizer.step(closure)
        value = loss()
        value.backward()
        optimizer.step()

    assert caught.value is mine
    assert (seen.steps, seen.column("loss")) == ([0], [value.item()])


class BadBackward(torch.autograd.Function):
    """A function that cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError("mine")


def test_a_backward_that_raises_counts_in_no_loss(make, watch) -> None:
    """The exception goes through, and the batch that was given up leaves no trace."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    with watch(optimizer) as seen:
        with pytest.raises(ZeroDivisionError, match="mine"):
            BadBackward.apply(loss()).backward()
        value = loss()
        value.backward()
        optimizer.step()

    assert seen.column("loss") == [value.item()]


def test_nothing_hangs_on_the_optimizer_afterwards(make, watch) -> None:
    """Hooks go at the end of the block, after an exception too, and `detach` may be repeated."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    own = optimizer.register_step_post_hook(lambda *args: None)
    with pytest.raises(ZeroDivisionError), watch(optimizer) as seen:
        assert hooks(optimizer) == 3
        loss().backward()
        optimizer.step()
        raise ZeroDivisionError
    seen.capture.detach()
    optimizer.step()

    assert hooks(optimizer) == 1
    assert seen.steps == [0]
    own.remove()


def test_a_failed_attach_leaves_nothing(make, watch) -> None:
    """Where the hooks cannot be put in place, torch is as it was."""
    model, _ = make()

    class Refuses(SGD):
        def register_step_post_hook(self, hook: Any) -> Any:
            raise ZeroDivisionError("mine")

    optimizer = Refuses(model.parameters(), lr=0.1)
    original = torch.autograd.backward
    with pytest.raises(ZeroDivisionError), watch(optimizer):
        pass

    assert hooks(optimizer) == 0
    assert torch.autograd.backward is original


def test_optimizer_and_scheduler_stay_ordinary_objects(make, watch) -> None:
    """Inside the block both are copied, pickled and asked for their state; copies are free."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = OneCycleLR(optimizer, 0.1, total_steps=10)
    with watch(optimizer, scheduler) as seen:
        loss().backward()
        optimizer.step()
        scheduler.step()
        copies = [copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))]
        copies.append(copy.deepcopy(scheduler).optimizer)
        states = optimizer.state_dict(), scheduler.state_dict()
        loaded = SGD(copy.deepcopy(model).parameters(), lr=9.0, momentum=0.9)
        loaded.load_state_dict(states[0])
        for each in copies:
            each.step()
        OneCycleLR(loaded, 0.1, total_steps=10).load_state_dict(
            pickle.loads(pickle.dumps(states[1]))
        )

    assert seen.steps == [0]
    assert [hooks(each) for each in copies] == [0, 0, 0]
    assert equal(copies[0].param_groups[0]["lr"], optimizer.param_groups[0]["lr"])
    assert states[1]["last_epoch"] == 1


def onecycle(model, loss):
    """SGD, OneCycleLR and clipping."""
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    scheduler = OneCycleLR(optimizer, 0.3, total_steps=30)
    yield optimizer, scheduler
    for _ in range(25):
        optimizer.zero_grad()
        loss().backward()
        clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        scheduler.step()


def plateau(model, loss):
    """Adam, and a plateau schedule that does reduce."""
    optimizer = Adam(model.parameters(), lr=0.1, amsgrad=True)
    scheduler = ReduceLROnPlateau(optimizer, patience=1)
    yield optimizer, scheduler
    for step in range(25):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        scheduler.step(value.item() + step)


def lbfgs(model, loss):
    """A closure evaluated many times, with dropout's random numbers in it."""
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4, line_search_fn="strong_wolfe")
    scheduler = ExponentialLR(optimizer, 0.9)
    yield optimizer, scheduler

    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    for _ in range(6):
        optimizer.step(closure)
        scheduler.step()


@pytest.mark.parametrize("training", [onecycle, plateau, lbfgs])
@pytest.mark.parametrize("norms", ["global", "group", "layer"])
def test_training_is_bit_equal(make, watch, training, norms: str) -> None:
    """Weights, optimizer, schedule and random numbers do not know of the capture."""

    def result(tracked: bool) -> dict[str, Any]:
        model, loss = make()
        loop = training(model, loss)
        optimizer, scheduler = next(loop)
        if tracked:
            with watch(optimizer, scheduler, norms=norms, model=model) as seen:
                assert list(loop) == []
            assert len(seen.steps) >= 6
        else:
            assert list(loop) == []
        return {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "random": torch.get_rng_state(),
        }

    assert equal(result(tracked=True), result(tracked=False))


def test_two_threads_never_mix(make, watch) -> None:
    """Two trainings at once, each under its own capture, have each their own losses."""
    barrier = threading.Barrier(2)
    truth: dict[int, list[tuple[float, float]]] = {0: [], 1: []}
    seen: dict[int, Any] = {}
    jobs = {seed: make(seed) for seed in truth}

    def train(seed: int) -> None:
        model, loss = jobs[seed]
        model.eval()
        optimizer = SGD(model.parameters(), lr=0.1)
        with watch(optimizer) as seen[seed]:
            for _ in range(50):
                optimizer.zero_grad()
                value = loss()
                barrier.wait(300)
                value.backward()
                norm = float(clip_grad_norm_(model.parameters(), 1e6))
                barrier.wait(300)
                optimizer.step()
                truth[seed].append((value.item(), norm))

    threads = [threading.Thread(target=train, args=(seed,)) for seed in truth]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)

    for seed, rows in truth.items():
        columns = seen[seed].column("loss"), seen[seed].column("grad_norm_preclip")
        assert len(rows) == 50
        assert list(zip(*columns, strict=True)) == rows


def test_two_captures_of_one_optimizer_see_the_same(make, watch) -> None:
    """A block inside a block on the same optimizer: both records are whole."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    truth = []
    with watch(optimizer) as outer:
        for inside in (False, True, True, False):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            truth.append((value.item(), float(clip_grad_norm_(model.parameters(), 1e6))))
            if inside and len(truth) == 2:
                block = watch(optimizer)
                inner = block.__enter__()
            optimizer.step()
            if len(truth) == 3:
                block.__exit__(None, None, None)

    def rows(seen: Any) -> list[tuple[float, float]]:
        return list(zip(seen.column("loss"), seen.column("grad_norm_preclip"), strict=True))

    assert rows(outer) == truth
    assert rows(inner) == truth[1:3]
    assert inner.steps == [0, 1]


def test_a_loss_counts_in_one_step_only(make, watch) -> None:
    """With two tracked optimizers, a loss belongs to the first step after it, of either."""
    one, other = make(1), make(2)
    first, second = SGD(one[0].parameters(), lr=0.1), SGD(other[0].parameters(), lr=0.1)
    with watch(first) as seen_first, watch(second) as seen_second:
        value = one[1]()
        value.backward()
        first.step()
        second.step()
        more = other[1]()
        more.backward()
        second.step()
        first.step()

    assert seen_first.column("loss") == [value.item(), None]
    assert seen_second.column("loss") == [None, more.item()]


def test_an_observation_that_fails_is_one_warning(make, watch) -> None:
    """A norm that raises costs the norm, once said; the rest of the record is there."""

    class Weird(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None):
            if "norm" in getattr(function, "__name__", ""):
                raise NotImplementedError("no norm of this")
            return super().__torch_function__(function, types, args, kwargs or {})

    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = SGD([parameter], lr=0.5, foreach=False)
    with watch(optimizer) as seen:
        with pytest.warns(LRTrackWarning, match="could not observe the gradients") as caught:
            for _ in range(3):
                value = (parameter * 2).sum()
                value.backward()
                parameter.grad = torch.ones(3).as_subclass(Weird)
                optimizer.step()

    assert len(caught) == 1
    assert seen.column("lr") == [0.5] * 3
    assert seen.column("loss") == [6.0, 3.0, 0.0]
    assert seen.column("grad_norm") == [None] * 3


def test_a_record_that_cannot_be_taken_is_one_warning(make, watch) -> None:
    """Where the receiver fails, training goes on and steps are counted."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)

    def refuse(*record: Any) -> None:
        raise OSError("no room")

    with watch(optimizer, on_step=refuse) as seen:
        with pytest.warns(LRTrackWarning, match="no room") as caught:
            for _ in range(3):
                loss().backward()
                optimizer.step()

    assert len(caught) == 1
    assert seen.capture.step == 2


@pytest.mark.parametrize(
    "group",
    [{"betas": 0.9}, {"betas": ()}, {"betas": None}, {"momentum": "much"}, {"momentum": None}],
)
def test_odd_hyper_parameters_hurt_nobody(make, watch, group: dict[str, Any]) -> None:
    """Third-party optimizers use these names as they like."""
    model, loss = make()

    class Odd(torch.optim.Optimizer):
        def step(self, closure: Any = None) -> None:
            pass

    optimizer = Odd(model.parameters(), {"lr": 0.5, **group})
    with watch(optimizer, norms="off") as seen:
        loss().backward()
        optimizer.step()

    assert [metrics.keys() for metrics in seen.metrics] == [{"lr", "loss"}]


def test_an_optimizer_without_a_learning_rate(make, watch) -> None:
    """One warning, and the rest of the record (an Adafactor finds its rates itself)."""
    model, loss = make()

    class Own(torch.optim.Optimizer):
        def step(self, closure: Any = None) -> None:
            pass

    optimizer = Own(model.parameters(), {"lr": None})
    truth = []
    with watch(optimizer, norms="off") as seen:
        with pytest.warns(LRTrackWarning, match="the learning rate") as caught:
            for _ in range(2):
                value = loss()
                value.backward()
                truth.append(value.item())
                optimizer.step()

    assert len(caught) == 1
    assert seen.column("loss") == truth


def test_nested_finds_every_schedule_once() -> None:
    """Schedules inside schedules, in lists or alone; circles end."""
    inner = Wrapper()
    outer = Wrapper(_schedulers=[inner, Wrapper(scheduler=inner)])
    circle = Wrapper()
    circle.scheduler = circle

    assert list(nested(None)) == []
    assert list(nested(inner)) == [inner]
    assert list(nested(outer))[:2] == [outer, inner]
    assert set(nested(circle)) == {circle}


def test_a_compiled_model_is_observed(watch, norm_of) -> None:
    """With a compiled model, records are as without."""
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    compiled = torch.compile(model, backend="aot_eager")
    optimizer = SGD(model.parameters(), lr=0.1)
    inputs, truth = torch.randn(8, 4), []
    with watch(optimizer) as seen:
        for _ in range(3):
            optimizer.zero_grad()
            value = compiled(inputs).square().mean()
            value.backward()
            truth.append((value.item(), norm_of(model.parameters())))
            optimizer.step()

    assert seen.column("loss") == [value for value, _ in truth]
    assert seen.column("grad_norm") == pytest.approx([norm for _, norm in truth], rel=1e-6)
