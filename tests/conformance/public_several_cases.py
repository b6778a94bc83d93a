"""The shapes of public loops with several optimizers, each written anew."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.optimizer import ParamsT

from .cases import LOCAL, case
from .public_loops import Rounds, side_by_side, split
from .tasks import Task
from .truth import Truth

ROUNDS = 100


@case("public loop: modded-nanogpt")
def modded_nanogpt(truth: Truth) -> None:
    """Muon for matrices and AdamW for the rest, after one backward, each with a `LambdaLR`."""
    function = f"{__name__}.modded_nanogpt.<locals>.get_lr"
    settings = '{"cooldown_frac": 0.4, "num_iterations": 100}'
    label = f"LambdaLR(lr_lambda={function}(args={settings}))"
    truth.schedule = side_by_side({"muon": label, "adamw": label})
    args = SimpleNamespace(num_iterations=ROUNDS, cooldown_frac=0.4)

    def get_lr(step: int) -> float:
        left = 1 - step / args.num_iterations
        return 1.0 if left >= args.cooldown_frac else left / args.cooldown_frac * 0.9 + 0.1

    task = Task()
    matrices = [p for p in task.model.parameters() if p.dim() == 2]
    others = [p for p in task.model.parameters() if p.dim() < 2]
    muon = SGD(matrices, lr=0.05, momentum=0.95, nesterov=True)
    adamw = AdamW(others, lr=0.008, betas=(0.8, 0.95))
    optimizers: dict[str, Optimizer] = {"muon": muon, "adamw": adamw}
    schedulers = {name: LambdaLR(o, get_lr) for name, o in optimizers.items()}
    rounds = Rounds(truth, shared=True)
    with truth.track(optimizers, schedulers):
        for _ in range(ROUNDS):
            loss = task.loss()
            loss.backward()
            for name, optimizer in optimizers.items():
                rounds.step(name, optimizer, [loss] if name == "muon" else [])
                optimizer.step()
                schedulers[name].step()
            rounds.end()
            for optimizer in optimizers.values():
                optimizer.zero_grad(set_to_none=True)


class Adversaries:
    """Networks that make numbers, and tell them from real ones."""

    def __init__(self) -> None:
        self.generator = torch.nn.Sequential(
            torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)
        )
        self.judge = torch.nn.Sequential(
            torch.nn.Linear(1, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)
        )

    def real(self) -> torch.Tensor:
        """Returns a batch of real numbers."""
        return torch.randn(16, 1) + 3

    def fake(self) -> torch.Tensor:
        """Returns a batch of made numbers."""
        return self.generator(torch.randn(16, 2))  # type: ignore[no-any-return]


@case("public loop: DCGAN")
def dcgan(truth: Truth) -> None:
    """Two Adams with constant rates; the discriminator has two losses in each round."""
    truth.schedule = "constant"
    nets, rounds = Adversaries(), Rounds(truth)
    loss_of = torch.nn.functional.binary_cross_entropy_with_logits
    ones, zeros = torch.ones(16, 1), torch.zeros(16, 1)
    d = Adam(nets.judge.parameters(), lr=2e-4, betas=(0.5, 0.999))
    g = Adam(nets.generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    with truth.track({"D": d, "G": g}):
        for _ in range(50):
            d.zero_grad()
            real = loss_of(nets.judge(nets.real()), ones)
            real.backward()
            fakes = nets.fake()
            fake = loss_of(nets.judge(fakes.detach()), zeros)
            fake.backward()
            rounds.step("D", d, [real, fake])
            d.step()
            g.zero_grad()
            loss = loss_of(nets.judge(fakes), ones)
            loss.backward()
            rounds.step("G", g, [loss])
            g.step()
            rounds.end()


@case("public loop: WGAN", trackers=LOCAL)
def wgan(truth: Truth) -> None:
    """Five steps of the critic for each of the generator, with clipped weights."""
    truth.schedule = "constant"
    nets, rounds = Adversaries(), Rounds(truth)
    critic = RMSprop(nets.judge.parameters(), lr=5e-5)
    generator = RMSprop(nets.generator.parameters(), lr=5e-5)
    with truth.track({"critic": critic, "generator": generator}):
        for step in range(100):
            critic.zero_grad()
            loss = nets.judge(nets.fake().detach()).mean() - nets.judge(nets.real()).mean()
            loss.backward()
            rounds.step("critic", critic, [loss])
            critic.step()
            with torch.no_grad():
                for parameter in nets.judge.parameters():
                    parameter.clamp_(-0.01, 0.01)
            if step % 5 == 4:
                generator.zero_grad()
                loss = -nets.judge(nets.fake()).mean()
                loss.backward()
                rounds.step("generator", generator, [loss])
                generator.step()
            rounds.end()


@case("public loop: SAC", trackers=LOCAL)
def sac(truth: Truth) -> None:
    """Three optimizers and three losses: of the critics, the actor, and the entropy's weight."""
    truth.schedule = "constant"
    critics, actor = Task(), Task()
    alpha = torch.nn.Parameter(torch.zeros(1))
    optimizers: dict[str, Optimizer] = {
        "q": Adam(critics.model.parameters(), lr=1e-3),
        "actor": Adam(actor.model.parameters(), lr=3e-4),
        "alpha": Adam([alpha], lr=1e-3),
    }
    losses: dict[str, Any] = {
        "q": critics.loss,
        "actor": actor.loss,
        "alpha": lambda: (alpha.exp() * 0.5).sum(),
    }
    rounds = Rounds(truth)
    with truth.track(optimizers):
        for _ in range(50):
            for name, optimizer in optimizers.items():
                optimizer.zero_grad()
                loss = losses[name]()
                loss.backward()
                rounds.step(name, optimizer, [loss])
                optimizer.step()
            rounds.end()


class Container(Optimizer):
    """torchtitan's container: an optimizer that steps one for each part of the model."""

    def __init__(self, parts: list[ParamsT], **options: Any) -> None:
        self.optimizers = [AdamW(part, **options) for part in parts]
        super().__init__([p for part in parts for p in part], options)  # type: ignore[misc]

    def step(self, closure: Any = None) -> None:
        """Steps all parts."""
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clears the gradients of all parts."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none)


class SchedulersContainer:
    """torchtitan's container of one scheduler for each optimizer."""

    def __init__(self, optimizers: Container, factor: Any) -> None:
        self.schedulers = [LambdaLR(optimizer, factor) for optimizer in optimizers.optimizers]

    def step(self) -> None:
        """Steps all schedulers."""
        for scheduler in self.schedulers:
            scheduler.step()


def linear_warmup_stable_decay(
    current_step: int, warmup_steps: int, stable_steps: int, decay_steps: int
) -> float:
    """torchtitan's factor, whose settings are bound by `functools.partial`."""
    if current_step < warmup_steps:
        return (current_step + 1) / warmup_steps
    if current_step < warmup_steps + stable_steps:
        return 1.0
    return 1 - (current_step - warmup_steps - stable_steps) / decay_steps


@case("public loop: torchtitan", trackers=LOCAL)
def torchtitan(truth: Truth) -> None:
    """Containers of optimizers and of schedulers, one for each part of the model."""
    task = Task()
    settings = {"warmup_steps": 10, "stable_steps": 50, "decay_steps": 40}
    function = f"{__name__}.linear_warmup_stable_decay"
    label = f"LambdaLR(lr_lambda={function}(decay_steps=40, stable_steps=50, warmup_steps=10))"
    truth.schedule = side_by_side({"AdamW_1": label, "AdamW_2": label})
    optimizers = Container(list(split(task)), lr=3e-4)
    schedulers = SchedulersContainer(optimizers, partial(linear_warmup_stable_decay, **settings))
    rounds = Rounds(truth, shared=True)
    with truth.track(optimizers, schedulers):
        for _ in range(ROUNDS):
            optimizers.zero_grad()
            loss = task.loss()
            loss.backward()
            for index, optimizer in enumerate(optimizers.optimizers, start=1):
                rounds.step(f"AdamW_{index}", optimizer, [loss] if index == 1 else [])
            rounds.end()
            optimizers.step()
            schedulers.step()
