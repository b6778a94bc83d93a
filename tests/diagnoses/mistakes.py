"""Training loops, each with one mistake that people make with learning-rate schedules.

Longer than other files, because it is one table of loops.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from lrtrack.records import History
from lrtrack.stats.diagnose import diagnoses_of
from tests.diagnoses.test_sound_loops import Loop, Net, Track, by_epoch, by_step

#: What the user states about a training that tells ten classes apart.
CLASSES = {"model": {"num_classes": 10}}


@dataclass(frozen=True)
class Mistake:
    """A training with a mistake.

    Attributes:
        code: of the diagnosis that names the mistake; None if no diagnosis does.
        loop: the training. It returns the codes itself if `track()` does not record it.
    """

    code: str | None
    loop: Loop


class Classifier:
    """A multi-layer perceptron, and pictures of ten classes for it."""

    def __init__(self, *widths: int, activation: type[nn.Module] = nn.ReLU) -> None:
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((64, *widths)):
            layers += [nn.Linear(inputs, outputs), activation()]
        self.model = nn.Sequential(*layers, nn.Linear(widths[-1], 10))
        self.centers = torch.rand(10, 64)

    def loss(self) -> torch.Tensor:
        """The cross-entropy of a new batch."""
        classes = torch.randint(10, (32,))
        pictures = self.centers[classes] + 0.1 * torch.randn(32, 64)
        return nn.functional.cross_entropy(self.model(pictures), classes)

    def train(self, optimizer: Any, steps: int, calls: int = 1) -> None:
        """Make some steps, each after some backward calls."""
        for _ in range(steps):
            optimizer.zero_grad()
            for _ in range(calls):
                self.loss().backward()
            optimizer.step()


def never_stepped(track: Track) -> None:
    """Create a scheduler and forget it."""
    net = Net()
    own = net.sgd()
    with track(own, CosineAnnealingLR(own, 60)):
        for _ in range(60):
            net.step(own)


def stepped_before(track: Track) -> None:
    """Step the scheduler at the start of each iteration, as before torch 1.1."""
    net = Net()
    own = net.sgd()
    scheduler = CosineAnnealingLR(own, 60)
    with track(own, scheduler), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        for _ in range(60):
            scheduler.step()
            net.step(own)


def used_up(track: Track) -> None:
    """Train for twice as long as the one-cycle schedule, which the loop then leaves alone."""
    net = Net()
    own = net.sgd(momentum=0.9)
    scheduler = OneCycleLR(own, 0.05, total_steps=31)
    with track(own, scheduler):
        for step in range(60):
            net.step(own)
            if step < 30:
                scheduler.step()


def stepped_often(build: Callable[[Any], Any], **options: Any) -> Loop:
    """Step the scheduler for each of eight batches that make one optimizer step."""

    def loop(track: Track) -> None:
        net = Net()
        own = net.sgd()
        scheduler = build(own)
        with track(own, scheduler, **options):
            for _ in range(60):
                own.zero_grad()
                for _ in range(8):
                    (net.loss() / 8).backward()
                own.step()
                for _ in range(8):
                    scheduler.step()

    return loop


def warmup_too_long(optimizer: Any) -> SequentialLR:
    """A warm-up of 200 steps before a cosine."""
    parts = [LinearLR(optimizer, 0.01, total_iters=200), CosineAnnealingLR(optimizer, 800)]
    return SequentialLR(optimizer, parts, [200])


def of_another_optimizer(track: Track) -> None:
    """Create the scheduler with an optimizer that is then created anew."""
    net = Net()
    scheduler = CosineAnnealingLR(net.sgd(), 60)
    own = net.sgd()
    with track(own, scheduler):
        for _ in range(60):
            net.step(own)
            scheduler.step()


def frozen_by_rate(net: Net) -> SGD:
    """An optimizer whose first group has the rate 0."""
    groups = [{"params": net.body.parameters(), "lr": 0.0}, {"params": net.head.parameters()}]
    return SGD(groups, lr=0.05)


def never_zeroed(track: Track) -> None:
    """Forget `zero_grad()`."""
    net = Net()
    own = net.sgd(1e-3)
    scheduler = CosineAnnealingLR(own, 60)
    with track(own, scheduler):
        for _ in range(60):
            net.loss().backward()
            own.step()
            scheduler.step()


def not_divided(track: Track) -> None:
    """Accumulate the losses of four batches, and not their mean."""
    task = Classifier(32)
    own = SGD(task.model.parameters(), 0.01)
    with track(own, config=CLASSES):
        task.train(own, 20, calls=4)


def classified(lr: float) -> Loop:
    """Train a classifier at a constant rate."""

    def loop(track: Track) -> None:
        task = Classifier(32)
        own = SGD(task.model.parameters(), lr)
        with track(own, config=CLASSES):
            task.train(own, 220)

    return loop


def vanishing(track: Track) -> None:
    """Train a network of eight layers of sigmoids."""
    task = Classifier(*[16] * 8, activation=nn.Sigmoid)
    own = Adam(task.model.parameters(), 1e-3)
    with track(own, norms="layer", model=task.model):
        task.train(own, 70)


def infinite_gradients(track: Track) -> None:
    """Leave out the square root of 0 by `torch.where`, which keeps its infinite gradient."""
    net = Net()
    scale = nn.Parameter(torch.zeros(1))
    own = SGD([*net.parameters(), scale], lr=0.01)
    with track(own):
        for _ in range(30):
            own.zero_grad()
            extra = torch.where(torch.tensor(True), 0.0, scale.sqrt()).sum()
            (net.loss() + extra).backward()
            own.step()
            scale.data.zero_()  # else the loss is not finite either


def logarithm_of_zero(track: Track) -> None:
    """Take the logarithm of a probability that rounds to 0 in one batch."""
    net = Net()
    own = net.sgd(0.01)
    with track(own):
        for step in range(30):
            own.zero_grad()
            probability = torch.tensor(0.0 if step == 20 else 0.5)
            (net.loss() - probability.log() * probability).backward()
            own.step()


def spiking(track: Track) -> None:
    """Train on a few batches that nobody has normalized."""
    net = Net()
    own = net.sgd(1e-6)
    with track(own):
        for step in range(80):
            own.zero_grad()
            (net.loss() * (500.0 if step % 25 == 24 else 1.0)).backward()
            own.step()


def clipped_before_unscaling(track: Track) -> None:
    """Clip gradients that are still multiplied by the scale."""
    net = Net()
    own = net.sgd()
    scheduler = CosineAnnealingLR(own, 60)
    scaler = GradScaler("cpu", init_scale=2.0**10)
    with track(own, scheduler):
        for _ in range(60):
            own.zero_grad()
            scaler.scale(net.loss()).backward()
            clip_grad_norm_(net.parameters(), 1.0)
            scaler.step(own)
            scaler.update()
            scheduler.step()


def skipping(track: Track) -> None:
    """Train in a precision in which most gradients overflow."""
    net = Net()
    own = net.sgd()
    scheduler = CosineAnnealingLR(own, 60)
    scaler = GradScaler("cpu", init_scale=4.0)
    with track(own, scheduler), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        for step in range(60):
            own.zero_grad()
            scaler.scale(net.loss()).backward()
            if step % 3:
                net.head.weight.grad[0, 0] = torch.inf
            scaler.step(own)
            scaler.update()
            scheduler.step()


def replaced_head(track: Track) -> None:
    """Replace a layer after the optimizer was created with the old one."""
    net = Net()
    groups = [{"params": net.body.parameters()}, {"params": net.head.parameters(), "name": "head"}]
    own = SGD(groups, lr=0.05)
    net.head = nn.Linear(4, 1)
    scheduler = CosineAnnealingLR(own, 60)
    with track(own, scheduler):
        for _ in range(60):
            net.step(own)
            scheduler.step()


def without_losses(track: Track) -> None:
    """Compute gradients by `torch.autograd.grad`, which names no loss."""
    net = Net()
    own = net.sgd()
    params = list(net.parameters())
    with track(own):
        for _ in range(60):
            gradients = torch.autograd.grad(net.loss(), params)
            for param, gradient in zip(params, gradients, strict=True):
                param.grad = gradient
            own.step()


def rebuilt(track: Track) -> None:
    """Create the optimizer anew after a third of the training."""
    net = Net()
    own = net.sgd()
    scheduler = CosineAnnealingLR(own, 60)
    with track(own, scheduler):
        for step in range(60):
            if step == 20:
                own = net.sgd()
                scheduler = CosineAnnealingLR(own, 60)
            net.step(own)
            scheduler.step()


def another_steps(track: Track) -> None:
    """Track one optimizer, and train with another."""
    net = Net()
    own, other = net.sgd(), net.sgd()
    with track(own):
        for _ in range(60):
            net.step(other)


def moved_by_hand(track: Track) -> None:
    """Halve the rate at each epoch, beside a scheduler that also moves it."""
    net = Net()
    own = net.sgd()
    scheduler = CosineAnnealingLR(own, 60)
    with track(own, scheduler):
        for step in range(60):
            net.step(own)
            scheduler.step()
            if step % 20 == 19:
                own.param_groups[0]["lr"] /= 2


def scheduler_not_loaded(track: Track) -> None:
    """Continue from a checkpoint that has no state of the scheduler."""
    state: list[Any] = []
    for steps in (40, 20):
        net = Net()
        own = net.sgd(momentum=0.9)
        scheduler = CosineAnnealingLR(own, 60)
        with track(own, scheduler, resume=state[1]["id"] if state else None) as run:
            if state:
                net.load_state_dict(state[0])
                run.load_state_dict(state[1])
            for _ in range(steps):
                net.step(own)
                scheduler.step()
        state = [copy.deepcopy(part.state_dict()) for part in (net, run)]


def stalled(track: Track) -> list[str]:
    """Wait for data before some of the steps, in a history with times of its own."""
    random = np.random.default_rng(0)
    seconds = 0.02 * random.gamma(50.0, 0.02, 1000) + (random.random(1000) < 0.05)
    history = History.from_series(
        "stalled", {"lr": np.full(1000, 0.1)}, time=1.7e9 + np.cumsum(seconds)
    )
    return [diagnosis["code"] for diagnosis in diagnoses_of(history)]


def accuracy(epoch: int) -> float:
    """A metric that rises, given to a schedule that waits for it to fall."""
    return 1.0 - 0.8**epoch


def creeping(epoch: int) -> float:
    """A metric that hardly gets better, but does so in each epoch."""
    return 1.0 - 0.0005 * epoch


MISTAKES: Mapping[str, Mistake] = {
    # The scheduler's steps and its length
    "never stepped": Mistake("LR001", never_stepped),
    "stepped before the optimizer": Mistake("LR005", stepped_before),
    "stepped by epoch, counts steps": Mistake(
        "LR002", by_epoch(lambda o: CosineAnnealingLR(o, 60), 6, 10)
    ),
    "T_max too long": Mistake("LR002", by_step(lambda o: CosineAnnealingLR(o, 600))),
    "T_max too short": Mistake("LR003", by_step(lambda o: CosineAnnealingLR(o, 40))),
    "one-cycle used up": Mistake("LR003", used_up),
    "stepped for each of eight batches": Mistake(
        "LR012", stepped_often(lambda o: CosineAnnealingLR(o, 60), total_steps=60)
    ),
    "over at an eighth of the training": Mistake(
        # A cosine as short as this rises again, which is LR003 instead.
        "LR028",
        stepped_often(lambda o: PolynomialLR(o, 60), total_steps=60),
    ),
    "warm-up longer than the training": Mistake("LR027", by_step(warmup_too_long)),
    # Plateaus
    "plateau with the wrong mode": Mistake(
        "LR011", by_epoch(lambda o: ReduceLROnPlateau(o, patience=1), 12, 5, accuracy)
    ),
    "plateau that never acts": Mistake(
        "LR011", by_epoch(lambda o: ReduceLROnPlateau(o, patience=2), 12, 5, creeping)
    ),
    # The schedule's unit and range
    "StepLR by batch": Mistake("LR014", by_step(lambda o: StepLR(o, 30), 300)),
    "first cut after the training": Mistake("LR015", by_step(lambda o: StepLR(o, 100), 80)),
    # No diagnosis, because `track()` refuses such a scheduler before the first step.
    "scheduler of another optimizer": Mistake(None, of_another_optimizer),
    "max_lr far above lr": Mistake(
        "LR016",
        by_step(
            lambda o: OneCycleLR(o, 0.05, total_steps=61, cycle_momentum=False),
            optimizer=lambda net: net.sgd(1e-5),
        ),
    ),
    "eta_min above lr": Mistake(
        "LR017",
        by_step(lambda o: CosineAnnealingLR(o, 60, 0.01), optimizer=lambda net: net.sgd(1e-3)),
    ),
    "group with the rate 0": Mistake(
        "LR018", by_step(lambda o: CosineAnnealingLR(o, 60), optimizer=frozen_by_rate)
    ),
    "rate moved by hand": Mistake("LR031", moved_by_hand),
    "scheduler not loaded at a resume": Mistake("LR030", scheduler_not_loaded),
    # Gradients and losses
    "zero_grad forgotten": Mistake("LR019", never_zeroed),
    "accumulation not divided": Mistake("LR020", not_divided),
    "rate too high from the start": Mistake("LR021", classified(10.0)),
    "loss that never falls": Mistake("LR022", classified(1e-9)),
    "vanishing gradients": Mistake("LR023", vanishing),
    "infinite norms": Mistake("LR024", infinite_gradients),
    "NaN loss": Mistake("LR006", logarithm_of_zero),
    "gradient spikes": Mistake("LR009", spiking),
    "clipping before unscaling": Mistake("LR007", clipped_before_unscaling),
    "scaler that skips most steps": Mistake("LR026", skipping),
    # The optimizer, and what is seen of it
    "replaced layer": Mistake("LR008", replaced_head),
    "no loss": Mistake("LR010", without_losses),
    "optimizer rebuilt": Mistake("LR013", rebuilt),
    "another optimizer steps": Mistake("LR013", another_steps),
    "waits for data": Mistake("LR025", stalled),
}
