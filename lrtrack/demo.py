"""The training of `lrtrack demo`: one small network, handwritten digits, six schedules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

import lrtrack
from lrtrack.comparing import fetch
from lrtrack.errors import NothingFound

EXPERIMENT = "lrtrack-demo"
#: So many that the comparison has an answer: which schedule is best, and which are worse.
SEEDS = range(6)
EPOCHS = 12

#: Large on purpose: it suits the start of the training, and a schedule has to reduce it.
LEARNING_RATE, MOMENTUM, BATCH, HIDDEN = 0.2, 0.9, 32, 64
#: A training at such a rate makes a rounding error grow from step to step. In single precision two
#: processors would end at different accuracies, in double precision they end at the same.
DTYPE = torch.float64
HELD_OUT = 597

#: Called with the number of finished runs, of all runs, and a label of the next run.
OnProgress = Callable[[int, int, str], None]

#: The spec of each schedule of the demo for a number of steps, by the name of its group of runs.
#: None depends on the clock, whose times would differ between machines.
_SPECS: Mapping[str, Callable[[int], str]] = {
    "constant": lambda steps: "constant",
    "step": lambda steps: f"step(steps={steps // 3}, factor=0.1)",
    "multi-step": lambda steps: f"multistep(milestones=[{steps // 2}, {steps * 3 // 4}])",
    "exponential": lambda steps: f"exponential(factor={0.001 ** (1 / steps):.4f})",
    "cosine": lambda steps: f"cosine(steps={steps})",
    "one-cycle": lambda steps: f"onecycle(max_lr={LEARNING_RATE}, steps={steps})",
}


def configurations() -> list[str]:
    """Names of the configurations."""
    return list(_SPECS)


def find_rate(experiment: str, tracker: str | None, seed: int) -> lrtrack.LRFinderResult:
    """Run the learning-rate finder on the demo's network, as a run of its own.

    Args:
        experiment, tracker: as in `lrtrack.track()`.
        seed: for the initial weights and the order of the images.
    """
    with _reproducible(seed):
        model = _network()
        optimizer = _optimizer(model)
        batches = _batches()

        def step() -> torch.Tensor:
            loss = _loss(model, next(batches))
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        return lrtrack.find_lr(
            model,
            optimizer,
            step,
            start=1e-4,
            track={
                "tracker": tracker,
                "experiment": experiment,
                "name": f"lr-finder-seed{seed}",
                "seed": seed,
                "flush_timeout": 0.0,
            },
        )


def run_demo(
    experiment: str = EXPERIMENT,
    tracker: str | None = None,
    on_progress: OnProgress = lambda done, total, label: None,
    *,
    seeds: Sequence[int] = SEEDS,
    epochs: int = EPOCHS,
) -> dict[str, list[float]]:
    """Train under every schedule, with several seeds each.

    A seed gives the same results each time, and training it twice would count as two runs: for
    more runs, use the seeds from `unused_seed` on.

    The upload is not waited for; the caller does so once, at the end.

    Returns:
        Configuration name to the final held-out accuracy of each seed.
    """
    names = configurations()
    todo = [(name, seed) for seed in seeds for name in names]
    accuracies: dict[str, list[float]] = {name: [] for name in names}
    for done, (name, seed) in enumerate(todo):
        on_progress(done, len(todo), f"{name}, seed {seed}")
        accuracy = train_one(name, seed, experiment=experiment, tracker=tracker, epochs=epochs)
        accuracies[name].append(accuracy)
    on_progress(len(todo), len(todo), "")
    return accuracies


def unused_seed(experiment: str, tracker: str | None) -> int:
    """The first seed above those of all runs of the experiment.

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
    """Train once under the schedule `name`; the results are bit for bit the same each time.

    Args:
        name: one of `configurations()`.
        seed: for the initial weights and the order of the images.
        experiment, tracker, flush_timeout: as in `lrtrack.track()`.
        epochs: passes over the training images.

    Returns:
        The final accuracy on the held-out images.
    """
    with _reproducible(seed):
        steps = epochs * (len(_digits()[0]) // BATCH)
        model = _network()
        optimizer = _optimizer(model)
        scheduler = lrtrack.scheduler(optimizer, _SPECS[name](steps), total_steps=steps)
        with lrtrack.track(
            optimizer,
            scheduler,
            tracker=tracker,
            experiment=experiment,
            name=f"{name}-seed{seed}",
            group=name,
            seed=seed,
            config={
                "epochs": epochs,
                "steps_per_epoch": steps // epochs,
                "batch_size": BATCH,
                "hidden": HIDDEN,
            },
            flush_timeout=flush_timeout,
            total_steps=steps,
        ) as run:
            for _ in range(epochs):
                _train_epoch(model, optimizer, scheduler)
                run.log(_evaluate(model))
        return _evaluate(model)["val_accuracy"]


def _network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(64, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
        nn.Linear(HIDDEN, 10),
    ).to(DTYPE)  # fmt: skip


def _optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)


def _train_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, scheduler: LRScheduler
) -> None:
    for batch in _epoch():
        optimizer.zero_grad()
        _loss(model, batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        scheduler.step()


def _epoch() -> Iterator[torch.Tensor]:
    """Random batches of indices of the training images, each image once."""
    order = torch.randperm(len(_digits()[0]))
    for start in range(0, len(order) - BATCH + 1, BATCH):
        yield order[start : start + BATCH]


def _batches() -> Iterator[torch.Tensor]:
    while True:
        yield from _epoch()


def _loss(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    images, labels, *_ = _digits()
    return nn.functional.cross_entropy(model(images[batch]), labels[batch])


def _evaluate(model: nn.Module) -> dict[str, float]:
    """Accuracy and loss on the held-out images."""
    *_, images, labels = _digits()
    with torch.no_grad():
        scores = model(images)
    correct = scores.argmax(dim=1) == labels
    loss = nn.functional.cross_entropy(scores, labels).item()
    return {"val_accuracy": correct.to(DTYPE).mean().item(), "val_loss": loss}


@cache
def _digits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Training images and labels, held-out images and labels: the same split for every run.

    Returns:
        Tensors of shape (1200, 64), (1200,), (597, 64), (597,).
    """
    data: Any = load_digits()
    images = torch.tensor(data.data / 16, dtype=DTYPE)
    labels = torch.tensor(data.target, dtype=torch.int64)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train, held_out = order[HELD_OUT:], order[:HELD_OUT]
    return images[train], labels[train], images[held_out], labels[held_out]


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """Use one thread and a fresh random state; restore the caller's afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)
