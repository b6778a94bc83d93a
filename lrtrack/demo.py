"""The training behind `lrtrack demo`: one small network, ten schedules, real handwritten digits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.optim import lr_scheduler as schedulers

import lrtrack
from lrtrack.comparing import fetch
from lrtrack.errors import NothingFound

EXPERIMENT = "lrtrack-demo"
SEEDS = range(3)
EPOCHS = 12

#: Large on purpose: as good as it is for the beginning, a schedule has to bring it down.
LEARNING_RATE, MOMENTUM, BATCH, HIDDEN = 0.2, 0.9, 32, 64
HELD_OUT = 597

#: Makes a scheduler for an optimizer and a number of steps; None for a constant rate.
Builder = Callable[[torch.optim.Optimizer, int], schedulers.LRScheduler | None]
#: Called with runs done, runs in all, and what is trained next.
OnProgress = Callable[[int, int, str], None]


def _warmup_cosine(optimizer: torch.optim.Optimizer, steps: int) -> schedulers.LRScheduler:
    warmup = steps // 10
    return schedulers.SequentialLR(
        optimizer,
        [
            schedulers.LinearLR(optimizer, start_factor=0.1, total_iters=warmup),
            schedulers.CosineAnnealingLR(optimizer, T_max=steps - warmup),
        ],
        milestones=[warmup],
    )


def _cyclic(optimizer: torch.optim.Optimizer, steps: int) -> schedulers.LRScheduler:
    return schedulers.CyclicLR(
        optimizer,
        base_lr=LEARNING_RATE / 50,
        max_lr=LEARNING_RATE,
        step_size_up=steps // 8,
        mode="triangular2",
    )


#: Every schedule that the demo trains under, by the name of its group of runs.
CONFIGURATIONS: Mapping[str, Builder] = {
    "constant": lambda optimizer, steps: None,
    "step": lambda optimizer, steps: schedulers.StepLR(optimizer, steps // 4, gamma=0.3),
    "multi-step": lambda optimizer, steps: schedulers.MultiStepLR(
        optimizer, [steps // 2, steps * 3 // 4], gamma=0.1
    ),
    "exponential": lambda optimizer, steps: schedulers.ExponentialLR(
        optimizer, gamma=round(0.01 ** (1 / steps), 4)
    ),
    "cosine": lambda optimizer, steps: schedulers.CosineAnnealingLR(optimizer, T_max=steps),
    "warm-restarts": lambda optimizer, steps: schedulers.CosineAnnealingWarmRestarts(
        optimizer, T_0=-(-steps // 7), T_mult=2
    ),
    "plateau": lambda optimizer, steps: schedulers.ReduceLROnPlateau(
        optimizer, factor=0.3, patience=1
    ),
    "one-cycle": lambda optimizer, steps: schedulers.OneCycleLR(
        optimizer, max_lr=LEARNING_RATE, total_steps=steps
    ),
    "cyclic": _cyclic,
    "warmup-cosine": _warmup_cosine,
}


def run_demo(
    experiment: str = EXPERIMENT,
    tracker: str | None = None,
    on_progress: OnProgress = lambda done, total, label: None,
    *,
    seeds: Sequence[int] = SEEDS,
    epochs: int = EPOCHS,
) -> dict[str, list[float]]:
    """Train under every schedule, with several seeds each.

    A seed gives the same figures each time, and trained twice it would count as two runs: to
    learn more, take those from `unused_seed` on.

    Delivery is not waited for: that is left to the caller, once, at the end.

    Returns:
        Configuration name to the final held-out accuracy of each seed.
    """
    todo = [(name, seed) for seed in seeds for name in CONFIGURATIONS]
    found: dict[str, list[float]] = {name: [] for name in CONFIGURATIONS}
    for done, (name, seed) in enumerate(todo):
        on_progress(done, len(todo), f"{name}, seed {seed}")
        accuracy = train_one(name, seed, experiment=experiment, tracker=tracker, epochs=epochs)
        found[name].append(accuracy)
    on_progress(len(todo), len(todo), "")
    return found


def unused_seed(experiment: str, tracker: str | None) -> int:
    """The first seed above all of the experiment's runs.

    Raises:
        TrackerUnavailable: the tracker cannot be reached.
    """
    try:
        seeds = [history.run.seed for history in fetch(experiment, tracker=tracker)]
    except NothingFound:
        return 0
    return max((seed for seed in seeds if seed is not None), default=-1) + 1


def train_one(
    name: str,
    seed: int,
    *,
    experiment: str = EXPERIMENT,
    tracker: str | None = None,
    epochs: int = EPOCHS,
    flush_timeout: float = 0.0,
) -> float:
    """Train once under the schedule `name`; the same numbers each time, bit for bit.

    Args:
        name: one of `CONFIGURATIONS`.
        seed: for the initial weights and the order of the images.
        experiment, tracker, flush_timeout: as in `lrtrack.track()`.
        epochs: passes over the training images.

    Returns:
        The final accuracy on the held-out images.
    """
    with _reproducible(seed):
        steps = epochs * (len(_digits()[0]) // BATCH)
        model = _network()
        optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
        scheduler = CONFIGURATIONS[name](optimizer, steps)
        with lrtrack.track(
            optimizer,
            scheduler,
            tracker=tracker,
            experiment=experiment,
            name=f"{name}-seed{seed}",
            group=name,
            seed=seed,
            config={"epochs": epochs, "batch_size": BATCH, "hidden": HIDDEN},
            flush_timeout=flush_timeout,
        ) as run:
            for _ in range(epochs):
                _train_epoch(model, optimizer, scheduler)
                run.log(_judge(model, scheduler))
        return _judge(model)["val_accuracy"]


def _network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(64, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
        nn.Linear(HIDDEN, 10),
    )  # fmt: skip


def _train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: schedulers.LRScheduler | None,
) -> None:
    images, labels, *_ = _digits()
    order = torch.randperm(len(images))
    for start in range(0, len(images) - BATCH + 1, BATCH):
        batch = order[start : start + BATCH]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if scheduler is not None and not isinstance(scheduler, schedulers.ReduceLROnPlateau):
            scheduler.step()


def _judge(model: nn.Module, scheduler: schedulers.LRScheduler | None = None) -> dict[str, float]:
    """Accuracy and loss on the held-out images; a plateau schedule is told the loss."""
    *_, images, labels = _digits()
    with torch.no_grad():
        scores = model(images)
    right = scores.argmax(dim=1) == labels
    loss = nn.functional.cross_entropy(scores, labels).item()
    if isinstance(scheduler, schedulers.ReduceLROnPlateau):
        scheduler.step(loss)
    return {"val_accuracy": right.float().mean().item(), "val_loss": loss}


@cache
def _digits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Training images and labels, held-out images and labels: the same split for every run.

    Returns:
        Tensors of shape (1200, 64), (1200,), (597, 64), (597,).
    """
    data: Any = load_digits()
    images = torch.tensor(data.data / 16, dtype=torch.float32)
    labels = torch.tensor(data.target, dtype=torch.int64)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train, held_out = order[HELD_OUT:], order[:HELD_OUT]
    return images[train], labels[train], images[held_out], labels[held_out]


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """One thread and a fresh random state; the caller's are back afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)
