"""Ordinary trainings without a mistake have no diagnosis, whatever their loop looks like.

Longer than other files, because it is one table of loops.
"""

from __future__ import annotations

import contextlib
import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from torch.optim.swa_utils import SWALR

Build = Callable[[Any], Any]
#: Opens a block with the options of `track()`.
Track = Callable[..., Any]
#: A whole training.
Loop = Callable[[Track], Any]


class Net(nn.Module):
    """Two layers, and noisy data for them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 1)

    def loss(self) -> torch.Tensor:
        """The loss of a new batch."""
        batch = torch.randn(16, 4)
        target = batch.sum(1, keepdim=True) + 0.1 * torch.randn(16, 1)
        return (self.head(torch.tanh(self.body(batch))) - target).square().mean()

    def sgd(self, lr: Any = 0.05, **options: Any) -> SGD:
        """An optimizer of all parameters."""
        return SGD(self.parameters(), lr=lr, **options)

    def step(self, optimizer: Any) -> float:
        """Make a usual step, and return the loss."""
        optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        optimizer.step()
        return loss.item()


def by_step(build: Build, steps: int = 60, optimizer: Any = Net.sgd, **options: Any) -> Loop:
    """Step the scheduler after each step."""

    def loop(track: Track) -> None:
        net = Net()
        own = optimizer(net)
        scheduler = build(own)
        with track(own, scheduler, **options):
            for _ in range(steps):
                net.step(own)
                scheduler.step()

    return loop


def by_epoch(build: Build, epochs: int, batches: int, value: Any = None) -> Loop:
    """Step the scheduler after each epoch, with a metric where there is one."""

    def loop(track: Track) -> None:
        net = Net()
        own = net.sgd()
        scheduler = build(own)
        with track(own, scheduler):
            for epoch in range(epochs):
                for _ in range(batches):
                    net.step(own)
                scheduler.step(*(() if value is None else (value(epoch),)))

    return loop


def in_groups(net: Net, rates: tuple[float, float] = (0.01, 0.05), **options: Any) -> SGD:
    """An optimizer with a group for each layer."""
    groups = [
        {"params": list(layer.parameters()), "lr": rate, "name": name}
        for name, layer, rate in (("body", net.body, rates[0]), ("head", net.head, rates[1]))
    ]
    return SGD(groups, **options)


def warmup_cosine(optimizer: Any) -> SequentialLR:
    """A warm-up of 10 steps and a cosine of 50."""
    parts = [LinearLR(optimizer, 0.1, total_iters=10), CosineAnnealingLR(optimizer, 50)]
    return SequentialLR(optimizer, parts, [10])


def warmup_stable_decay(optimizer: Any) -> SequentialLR:
    """A warm-up, a long part at the peak, and a fall."""
    parts = [
        LinearLR(optimizer, 0.1, total_iters=10),
        ConstantLR(optimizer, 1.0, 30),
        LinearLR(optimizer, 1.0, 0.1, total_iters=20),
    ]
    return SequentialLR(optimizer, parts, [10, 40])


def half_cosine(optimizer: Any) -> LambdaLR:
    """The warm-up and cosine of transformers."""
    return LambdaLR(
        optimizer,
        lambda step: step / 10 if step < 10 else (1 + math.cos(math.pi * (step - 10) / 50)) / 2,
    )


def falls_to_zero(optimizer: Any) -> LambdaLR:
    """The warm-up and line to 0 of transformers."""
    return LambdaLR(optimizer, lambda step: min(step / 6, max(0, 60 - step) / 54))


def fractions(cycle: int, epochs: int, batches: int) -> Loop:
    """Give `CosineAnnealingWarmRestarts` the fraction of the epoch, as torch documents it."""

    def loop(track: Track) -> None:
        net = Net()
        own = net.sgd()
        scheduler = CosineAnnealingWarmRestarts(own, cycle)
        with track(own, scheduler):
            for epoch in range(epochs):
                for batch in range(batches):
                    net.step(own)
                    scheduler.step(epoch + batch / batches)

    return loop


def accumulated(per_batch: bool) -> Loop:
    """Accumulate four batches; the scheduler counts steps, or batches."""

    def loop(track: Track) -> None:
        net = Net()
        own = net.sgd()
        scheduler = CosineAnnealingLR(own, 120 if per_batch else 30)
        with track(own, scheduler), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
            for batch in range(120):
                (net.loss() / 4).backward()
                if batch % 4 == 3:
                    own.step()
                    own.zero_grad()
                if per_batch or batch % 4 == 3:
                    scheduler.step()

    return loop


def scaled(skipped: int, fused: bool = False) -> Loop:
    """Begin with a scale that is too large, so that the first steps are skipped."""

    def loop(track: Track) -> None:
        net = Net()
        own = net.sgd(fused=fused)
        scheduler = CosineAnnealingLR(own, 60)
        scaler = GradScaler("cpu", init_scale=2.0**10)
        with track(own, scheduler), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
            for step in range(60):
                own.zero_grad()
                scaler.scale(net.loss()).backward()
                if step < skipped:
                    net.head.weight.grad[0, 0] = torch.inf
                scaler.step(own)
                scaler.update()
                scheduler.step()

    return loop


def clipped(build: Any, max_norm: float) -> Loop:
    """Clip each step, and none of them to a tenth."""

    def loop(track: Track) -> None:
        net = Net()
        own = build(net.parameters(), lr=1e-3)
        scheduler = warmup_cosine(own)
        with track(own, scheduler):
            for _ in range(60):
                own.zero_grad()
                net.loss().backward()
                clip_grad_norm_(net.parameters(), max_norm)
                own.step()
                scheduler.step()

    return loop


def head_only(track: Track) -> None:
    """Train the head of a frozen network."""
    net = Net()
    own = in_groups(net)
    net.body.requires_grad_(False)
    scheduler = CosineAnnealingLR(own, 60)
    with track(own, scheduler):
        for _ in range(60):
            net.step(own)
            scheduler.step()


def unfrozen(how: str) -> Loop:
    """Train the body from the middle on."""

    def loop(track: Track) -> None:
        net = Net()
        own = SGD(net.head.parameters(), lr=0.05) if how == "added" else in_groups(net)
        net.body.requires_grad_(how == "rate")
        if how == "rate":
            own.param_groups[0]["lr"] = 0.0
        with track(own):
            for step in range(60):
                if step == 30:
                    net.body.requires_grad_(True)
                    if how == "added":
                        own.add_param_group({"params": list(net.body.parameters()), "lr": 0.01})
                    own.param_groups[-1 if how == "added" else 0]["lr"] = 0.01
                net.step(own)

    return loop


def stopped(steps: int, length: int, error: type[BaseException] | None = None) -> Loop:
    """End before the schedule does."""

    def loop(track: Track) -> None:
        net = Net()
        own = net.sgd()
        scheduler = CosineAnnealingLR(own, length)
        raised = contextlib.suppress(error) if error else contextlib.nullcontext()
        with raised, track(own, scheduler):
            for _ in range(steps):
                net.step(own)
                scheduler.step()
            if error:
                raise error

    return loop


def resumed(track: Track) -> None:
    """Continue from a checkpoint after two thirds of the schedule."""
    state: list[Any] = []
    for steps in (40, 20):
        net = Net()
        own = net.sgd(momentum=0.9)
        scheduler = CosineAnnealingLR(own, 60)
        with track(own, scheduler, resume=state[3]["id"] if state else None) as run:
            if state:
                for part, saved in zip((net, own, scheduler, run), state, strict=True):
                    part.load_state_dict(saved)
            for _ in range(steps):
                net.step(own)
                scheduler.step()
        state = [copy.deepcopy(part.state_dict()) for part in (net, own, scheduler, run)]


def with_closures(track: Track) -> None:
    """LBFGS evaluates a closure several times in a step."""
    net = Net()
    own = torch.optim.LBFGS(net.parameters(), lr=0.1, max_iter=2)
    batch = torch.randn(16, 4)

    def closure() -> torch.Tensor:
        own.zero_grad()
        loss = (net.head(net.body(batch)) - batch.sum(1, keepdim=True)).square().mean()
        loss.backward()
        return loss

    with track(own):
        for _ in range(30):
            own.step(closure)


def skipped_zero(track: Track) -> None:
    """Step the scheduler once before the training, because its first rate is 0."""
    net = Net()
    own = net.sgd()
    scheduler = LambdaLR(own, lambda step: min(1.0, step / 10))
    with track(own, scheduler), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        scheduler.step()
        for _ in range(60):
            net.step(own)
            scheduler.step()


def by_hand(track: Track) -> None:
    """Set the rate in the loop, before each step."""
    net = Net()
    own = net.sgd()
    with track(own):
        for step in range(60):
            for group in own.param_groups:
                group["lr"] = 0.05 * min((step + 1) / 10, (60 - step) / 50)
            net.step(own)


def two_optimizers(track: Track) -> None:
    """Train two layers by an optimizer and a scheduler of their own."""
    net = Net()
    body, head = SGD(net.body.parameters(), lr=0.01), AdamW(net.head.parameters(), lr=0.01)
    schedulers = {"body": CosineAnnealingLR(body, 60), "head": StepLR(head, 20)}
    with track({"body": body, "head": head}, schedulers):
        for _ in range(60):
            body.zero_grad()
            head.zero_grad()
            net.loss().backward()
            body.step()
            head.step()
            for scheduler in schedulers.values():
                scheduler.step()


def adversaries(track: Track) -> None:
    """Step two optimizers in turns, each by its own loss."""
    net = Net()
    first, second = SGD(net.body.parameters(), lr=0.01), SGD(net.head.parameters(), lr=0.01)
    with track({"critic": first, "generator": second}):
        for _ in range(30):
            for own, sign in ((first, 1.0), (second, -1.0)):
                own.zero_grad()
                (sign * net.loss().tanh()).backward()
                own.step()


def averaged(track: Track) -> None:
    """Average the weights of the second half, at a rate of its own."""
    net = Net()
    own = net.sgd()
    scheduler = SWALR(own, swa_lr=0.01, anneal_epochs=5)
    with track(own, scheduler):
        for epoch in range(12):
            for _ in range(5):
                net.step(own)
            if epoch >= 6:
                scheduler.step()


def recorded(track: Track) -> None:
    """Record the steps of an engine."""
    with track(None) as run:
        for step in range(60):
            run.record(lr=0.1 * (1 - step / 60), loss=1 / (step + 1), grad_norm=1.0)


def evaluated(track: Track) -> None:
    """Evaluate after each epoch, and log the result."""
    net = Net()
    own = net.sgd()
    scheduler = MultiStepLR(own, [6, 9])
    with track(own, scheduler) as run:
        for _ in range(12):
            for _ in range(5):
                net.step(own)
            with torch.no_grad():
                run.log(val_loss=float(net.loss()))
            scheduler.step()


def sparse(track: Track) -> None:
    """Train an embedding, of which each batch uses a part."""
    torch.manual_seed(0)
    table = nn.Embedding(20, 3, sparse=True)
    own = torch.optim.SparseAdam(table.parameters(), lr=0.01)
    scheduler = ExponentialLR(own, 0.99)
    with track(own, scheduler):
        for _ in range(60):
            own.zero_grad()
            (table(torch.randint(20, (8,))) - 1).square().mean().backward()
            own.step()
            scheduler.step()


def one_cycle(optimizer: Any) -> OneCycleLR:
    """A cycle of 60 steps."""
    return OneCycleLR(optimizer, 0.05, total_steps=61)


def cosine(optimizer: Any) -> CosineAnnealingLR:
    """A cosine of 60 steps."""
    return CosineAnnealingLR(optimizer, 60)


def falls(epoch: int) -> float:
    """A metric that always gets better."""
    return 0.95**epoch


def stands(epoch: int) -> float:
    """A metric that gets better for five epochs."""
    return 0.5 ** min(epoch, 5)


LOOPS: dict[str, Loop] = {
    "a constant rate": by_step(lambda o: ConstantLR(o, 1.0, 1)),
    "warm-up and cosine": by_step(warmup_cosine),
    "transformers' cosine": by_step(half_cosine),
    "transformers' line to 0": by_step(falls_to_zero),
    "warm-up, stable, decay": by_step(warmup_stable_decay),
    "inverse square root": by_step(
        lambda o: LambdaLR(o, lambda t: min((t + 1) / 10, ((t + 1) / 10) ** -0.5))
    ),
    "polynomial": by_step(lambda o: PolynomialLR(o, 60, 2.0)),
    "one-cycle": by_step(one_cycle, optimizer=lambda net: net.sgd(momentum=0.9)),
    "one-cycle, Adam": by_step(one_cycle, optimizer=lambda net: AdamW(net.parameters())),
    "cycles": by_step(lambda o: CyclicLR(o, 0.01, 0.1, 10, cycle_momentum=False)),
    "shrinking cycles": by_step(
        lambda o: CyclicLR(o, 0.01, 0.1, 10, mode="exp_range", gamma=0.99, cycle_momentum=False)
    ),
    "restarts by step": by_step(lambda o: CosineAnnealingWarmRestarts(o, 20)),
    "growing restarts": by_step(lambda o: CosineAnnealingWarmRestarts(o, 8, 2, 1e-4)),
    "restarts by epoch": by_epoch(lambda o: CosineAnnealingWarmRestarts(o, 4, 2), 12, 5),
    "restarts by fractions": fractions(4, 12, 5),
    "restarts by fractions, one epoch": fractions(5, 1, 60),
    "restarts by fractions, first cycle": fractions(10, 4, 20),
    "restarts by fractions, short cycles": fractions(1, 6, 10),
    "steps by epoch": by_epoch(lambda o: StepLR(o, 30), 60, 2),
    "milestones by epoch": by_epoch(lambda o: MultiStepLR(o, [10, 15]), 20, 5),
    "milestones by step": by_step(lambda o: MultiStepLR(o, [30, 45])),
    "cosine by epoch": by_epoch(lambda o: CosineAnnealingLR(o, 12), 12, 5),
    "cosine by epoch, a few more": by_epoch(lambda o: CosineAnnealingLR(o, 12, 1e-4), 13, 5),
    "exponential by epoch": by_epoch(lambda o: ExponentialLR(o, 0.9), 12, 5),
    "multiplied by epoch": by_epoch(lambda o: MultiplicativeLR(o, lambda epoch: 0.9), 12, 5),
    "warm-up chained": by_step(
        lambda o: ChainedScheduler([LinearLR(o, 0.1, total_iters=10), ExponentialLR(o, 0.98)])
    ),
    "warm-up, then constant": by_step(lambda o: LinearLR(o, 0.1, total_iters=10)),
    "plateau never reached": by_epoch(lambda o: ReduceLROnPlateau(o), 30, 2, falls),
    "plateau reached": by_epoch(lambda o: ReduceLROnPlateau(o, patience=3), 15, 3, stands),
    "plateau, at its minimum": by_epoch(
        lambda o: ReduceLROnPlateau(o, patience=0, min_lr=0.005), 15, 3, stands
    ),
    "plateau of accuracies": by_epoch(
        lambda o: ReduceLROnPlateau(o, "max", patience=3), 15, 3, lambda epoch: 1 - stands(epoch)
    ),
    "plateau, few evaluations": by_epoch(lambda o: ReduceLROnPlateau(o), 3, 10, falls),
    "a frozen body": head_only,
    "unfrozen as a new group": unfrozen("added"),
    "unfrozen by its rate": unfrozen("rate"),
    "unfrozen by requires_grad": unfrozen("requires_grad"),
    "rates by layer": by_step(warmup_cosine, optimizer=in_groups),
    "decay for a part": by_step(
        cosine, optimizer=lambda net: SGD(
            [{"params": [net.body.weight, net.head.weight], "weight_decay": 0.01},
             {"params": [net.body.bias, net.head.bias]}], lr=0.05),
    ),
    "accumulation by step": accumulated(per_batch=False),
    "accumulation by batch": accumulated(per_batch=True),
    "a scaler": scaled(0),
    "a scaler that finds its scale": scaled(4),
    "a fused optimizer's scaler": scaled(4, fused=True),
    "clipped at each step": clipped(AdamW, 1.0),
    "clipped at each step, SGD": clipped(SGD, 1.0),
    "stopped early": stopped(40, 60),
    "interrupted": stopped(20, 100, KeyboardInterrupt),
    "failed": stopped(20, 100, ValueError),
    "three steps": stopped(3, 1000),
    "ten steps": stopped(10, 1000),
    "resumed": resumed,
    "closures": with_closures,
    "a first rate of 0 skipped": skipped_zero,
    "a rate set by hand": by_hand,
    "two optimizers": two_optimizers,
    "adversaries": adversaries,
    "averaged weights": averaged,
    "recorded steps": recorded,
    "evaluated": evaluated,
    "sparse gradients": sparse,
    "every tenth step": by_step(cosine, every=10),
    "without norms": by_step(cosine, norms="off"),
    "without losses": by_step(cosine, capture_loss=False),
    "norms of groups": by_step(cosine, optimizer=in_groups, norms="group"),
    "the rate as a tensor": by_step(cosine, optimizer=lambda net: net.sgd(torch.tensor(0.05))),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOPS)
def test_sound_loops(track, messages, name: str) -> None:
    """A training without a mistake has no diagnosis."""
    LOOPS[name](track)

    assert messages() == {}
