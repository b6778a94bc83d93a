"""Several optimizers: alternating, in one run, in threads, one optimizer in two blocks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import ExponentialLR, StepLR

from .cases import STEPS, case
from .tasks import Task, train
from .truth import EXPERIMENT, Truth, number


class Gan:
    """A generator and a discriminator of numbers, with the usual loop over both."""

    def __init__(self) -> None:
        self.generator = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU())
        self.generator.append(torch.nn.Linear(8, 1))
        self.discriminator = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.ReLU())
        self.discriminator.append(torch.nn.Linear(8, 1))
        self.of_generator = Adam(self.generator.parameters(), lr=1e-3)
        self.of_discriminator = SGD(self.discriminator.parameters(), lr=0.1)
        self.slower = ExponentialLR(self.of_discriminator, 0.9)

    def train(self, generator: Truth, discriminator: Truth) -> None:
        """Makes two steps of the discriminator for each of the generator."""
        judge = torch.nn.functional.binary_cross_entropy_with_logits
        ones, zeros = torch.ones(16, 1), torch.zeros(16, 1)
        for step in range(2 * STEPS):
            self.of_discriminator.zero_grad()
            samples = self.generator(torch.randn(16, 2))
            real = judge(self.discriminator(torch.randn(16, 1) + 3), ones)
            real.backward()
            fake = judge(self.discriminator(samples.detach()), zeros)
            fake.backward()
            discriminator.step(self.of_discriminator, number(real) + number(fake), calls=2)
            self.of_discriminator.step()
            self.slower.step()
            if step % 2:
                self.of_generator.zero_grad()
                loss = judge(self.discriminator(samples), ones)
                loss.backward()
                generator.step(self.of_generator, loss)
                self.of_generator.step()


@case("a GAN in two runs")
def gan_in_two_runs(truth: Truth) -> None:
    """Two optimizers that alternate in separate runs each have their own losses."""
    gan, other = Gan(), truth.another("discriminator")
    with (
        truth.track(gan.of_generator, prefix="g/"),
        other.track(gan.of_discriminator, gan.slower, prefix="d/"),
    ):
        gan.train(truth, other)


@contextmanager
def users_runs(name: str) -> Iterator[None]:
    """The user's own runs, in MLflow and in W&B."""
    import mlflow
    import wandb

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        wandb.teardown()  # settings that an earlier test made it read, such as the server's address
        try:
            with mlflow.start_run(run_name=name), wandb.init(project=EXPERIMENT, name=name):
                yield
        finally:
            wandb.teardown()


@case("a GAN in one run")
def gan_in_one_run(truth: Truth) -> None:
    """Two blocks in the user's open run, each under its prefix."""
    gan, other = Gan(), truth.beside()
    with (
        users_runs(truth.name),
        truth.track(gan.of_generator, prefix="g/", flush_timeout=300),
        other.track(gan.of_discriminator, gan.slower, prefix="d/", flush_timeout=300),
    ):
        gan.train(truth, other)


@case("two trainings one after the other in one run")
def one_after_the_other(truth: Truth) -> None:
    """Pretraining and fine-tuning, each a block with a prefix in the user's own run."""
    tuned = truth.beside()
    with users_runs(truth.name):
        for book, prefix in ((truth, "pre/"), (tuned, "fine/")):
            task = Task()
            optimizer = SGD(task.model.parameters(), lr=0.1)
            with book.track(optimizer, prefix=prefix, flush_timeout=300):
                train(book, optimizer, task.loss)


@case("an optimizer that is not tracked steps in between")
def untracked(truth: Truth) -> None:
    """Steps of an untracked optimizer are not counted; losses count until the next tracked step."""
    task, other = Task(), Task()
    optimizer, quiet = (SGD(problem.model.parameters(), lr=0.1) for problem in (task, other))
    with truth.track(optimizer):
        for _ in range(STEPS):
            quiet.zero_grad()
            aside = other.loss()
            aside.backward()
            quiet.step()
            optimizer.zero_grad()
            loss = task.loss()
            loss.backward()
            truth.step(optimizer, number(aside) + number(loss), calls=2)
            optimizer.step()


@case("one backward for two optimizers")
def shared_backward(truth: Truth) -> None:
    """A shared loss belongs to the first step after it."""
    task, other = Task(), truth.another("second")
    first = SGD(task.model[0].parameters(), lr=0.1)
    second = Adam(task.model[2].parameters())
    with truth.track(first), other.track(second):
        for _ in range(STEPS):
            first.zero_grad()
            second.zero_grad()
            loss = task.loss()
            loss.backward()
            truth.step(first, loss)
            other.step(second)
            first.step()
            second.step()


@case("one optimizer in two blocks")
def two_blocks(truth: Truth) -> None:
    """Two blocks around one optimizer both record everything."""
    task, other = Task(), truth.another("again")
    optimizer = SGD(task.model.parameters(), lr=0.1)
    scheduler = StepLR(optimizer, 2)
    with truth.track(optimizer, scheduler), other.track(optimizer, scheduler, every=2):
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = task.loss()
            loss.backward()
            truth.step(optimizer, loss)
            other.step(optimizer, loss)
            optimizer.step()
            scheduler.step()


@case("two trainings in two threads")
def threads(truth: Truth) -> None:
    """Two threads train step by step in parallel without affecting each other."""
    other, turn = truth.another("thread"), threading.Barrier(2)
    failures: list[BaseException] = []

    def work(book: Truth, factor: float) -> None:
        try:
            task = Task()
            optimizer = SGD(task.model.parameters(), lr=0.1 * factor)

            def loss() -> torch.Tensor:
                turn.wait(300)
                return task.loss() * factor

            with book.track(optimizer):
                train(book, optimizer, loss, lambda step: turn.wait(300))
        except BaseException as error:
            failures.append(error)
            turn.abort()

    workers = [threading.Thread(target=work, args=pair) for pair in ((truth, 1.0), (other, 3.0))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []


@case("two blocks, one after the other")
def consecutive(truth: Truth) -> None:
    """A loss left over from the first block does not count in the second, which starts at step
    0.
    """
    task, other = Task(), truth.another("second")
    optimizer: Any = SGD(task.model.parameters(), lr=0.1)
    with truth.track(optimizer):
        train(truth, optimizer, task.loss)
        task.loss().backward()
    task.loss().backward()
    with other.track(optimizer):
        train(other, optimizer, task.loss)
