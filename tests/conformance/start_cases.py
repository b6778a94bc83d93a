"""Well-known training loops, each recorded by at most three added lines, none of them re-indented.

Each is written anew in the shape of the named project's loop; `added_lines` explains the marks.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional as F
from torch.optim import Adam, AdamW
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from .added_lines import Options, program
from .in_backward_cases import Passes
from .public_loops import Rounds, half_cosine
from .public_several_cases import Adversaries
from .truth import Truth, norm, number


class Letters(torch.nn.Module):
    """Predicts the next of eight letters, and returns the loss with the prediction."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = torch.nn.Embedding(8, 4), torch.nn.Linear(4, 8)

    def forward(self, letters: torch.Tensor, targets: torch.Tensor) -> Any:
        """Returns logits and their cross entropy."""
        logits = self.head(self.embedding(letters))
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def optimizer(self, lr: float) -> AdamW:
        """Returns an AdamW whose matrices decay and whose biases do not."""
        matrices = [p for p in self.parameters() if p.dim() >= 2]
        biases = [p for p in self.parameters() if p.dim() < 2]
        groups = {"params": matrices, "weight_decay": 0.1}, {"params": biases, "weight_decay": 0.0}
        return AdamW(groups, lr=lr, betas=(0.9, 0.95))


class ActorCritic(torch.nn.Module):
    """Chooses one of two actions, and values what it observes."""

    def __init__(self) -> None:
        super().__init__()
        self.actor, self.critic = torch.nn.Linear(4, 2), torch.nn.Linear(4, 1)

    def forward(self, observed: torch.Tensor, actions: torch.Tensor | None = None) -> Any:
        """Returns actions, their log probabilities, entropies, and values."""
        choice = torch.distributions.Categorical(logits=self.actor(observed))
        actions = choice.sample() if actions is None else actions
        return actions, choice.log_prob(actions), choice.entropy(), self.critic(observed).flatten()


@program("three lines: minGPT")
def mingpt(truth: Truth, options: Options) -> None:
    """The loop is in a method of a trainer, which makes the optimizer there, too."""
    import lrtrack  # added

    class Trainer:
        def __init__(self, model: Any, letters: torch.Tensor) -> None:
            self.model, self.letters, self.iterations = model, letters, 0
            self.callbacks: list[Any] = []

        def run(self) -> None:
            optimizer = self.model.optimizer(lr=3e-4)
            tracked = lrtrack.start(optimizer, **options)  # added
            pairs = TensorDataset(self.letters[:, :-1], self.letters[:, 1:])
            endless = RandomSampler(pairs, replacement=True, num_samples=100)
            loader = DataLoader(pairs, sampler=endless, batch_size=16)
            self.model.train()
            batches = iter(loader)
            while True:
                try:
                    inputs, targets = next(batches)
                except StopIteration:
                    batches = iter(loader)
                    inputs, targets = next(batches)
                _, loss = self.model(inputs, targets)
                self.model.zero_grad(set_to_none=True)
                loss.backward()
                truth.put(grad_norm_preclip=norm(p.grad for p in model.parameters()))  # truth
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 0.5)
                truth.step(optimizer, loss)  # truth
                optimizer.step()
                for callback in self.callbacks:
                    callback(self)
                self.iterations += 1
                if self.iterations >= 20:
                    break
            tracked.end()  # added

    model = Letters()
    trainer = Trainer(model, torch.randint(8, (64, 9)))
    trainer.callbacks.append(lambda own: torch.rand(1) if own.iterations % 5 == 0 else None)
    trainer.run()


@program("three lines: nanoGPT")
def nanogpt(truth: Truth, options: Options) -> None:
    """A script sets the rate of each group by hand and adds up gradients; its scaler is off."""
    import lrtrack  # added

    model, micro_steps = Letters(), 4
    scaler = torch.amp.GradScaler("cuda", enabled=False)
    optimizer = model.optimizer(lr=1e-2)

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        letters = torch.randint(8, (16, 9))
        return letters[:, :-1], letters[:, 1:]

    run = lrtrack.start(optimizer, **options)  # added
    inputs, targets = batch()
    iteration = 0
    while True:
        share = (iteration - 10) / 90
        lr = 1e-2 * ((iteration + 1) / 11 if share < 0 else 0.1 + 0.9 * half_cosine(share))
        for group in optimizer.param_groups:
            group["lr"] = lr
        if iteration % 50 == 0:
            model.eval()
            with torch.no_grad():
                losses = [model(*batch())[1].item() for _ in range(3)]
            model.train()
        total = 0.0  # truth
        for _ in range(micro_steps):
            _, loss = model(inputs, targets)
            loss = loss / micro_steps
            inputs, targets = batch()
            scaler.scale(loss).backward()
            total += loss.item()  # truth
        scaler.unscale_(optimizer)
        truth.put(grad_norm_preclip=norm(p.grad for p in model.parameters()))  # truth
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        truth.step(optimizer, total, calls=micro_steps)  # truth
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        iteration += 1
        if iteration >= 100 or not all(map(math.isfinite, losses)):
            break
    run.end()  # added
    truth.schedule = (  # truth
        "≈ warmup(start=0.0909, steps=10) → cosine(min_lr=0.001, steps=90)"  # truth
    )  # truth


@program("three lines: a GAN")
def gan(truth: Truth, options: Options) -> None:
    """Discriminator and generator step in turns; the first has two backward passes."""
    import lrtrack  # added

    nets, ones, zeros = Adversaries(), torch.ones(16, 1), torch.zeros(16, 1)
    generator, judge = nets.generator, nets.judge
    criterion = torch.nn.BCEWithLogitsLoss()
    optimizer_d = Adam(judge.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_g = Adam(generator.parameters(), lr=1e-4, betas=(0.5, 0.999))
    run = lrtrack.start({"D": optimizer_d, "G": optimizer_g}, **options)  # added
    rounds = Rounds(truth)  # truth
    for _ in range(20):
        judge.zero_grad()
        real = criterion(judge(nets.real()), ones)
        real.backward()
        fakes = nets.fake()
        fake = criterion(judge(fakes.detach()), zeros)
        fake.backward()
        rounds.step("D", optimizer_d, [real, fake])  # truth
        optimizer_d.step()
        generator.zero_grad()
        loss = criterion(judge(fakes), ones)
        loss.backward()
        rounds.step("G", optimizer_g, [loss])  # truth
        optimizer_g.step()
        rounds.end()  # truth
    run.end()  # added


@program("three lines: PPO")
def ppo(truth: Truth, options: Options) -> None:
    """CleanRL's loop: one rate for each update, which makes a step for each minibatch and epoch."""
    import lrtrack  # added

    agent, updates, start = ActorCritic(), 25, 2.5e-4
    optimizer = Adam(agent.parameters(), lr=start, eps=1e-5)
    run = lrtrack.start(optimizer, **options)  # added
    truth.schedule = "≈ linear(end=0, interval=4, start=1, steps=25)"  # truth
    for update in range(1, updates + 1):
        optimizer.param_groups[0]["lr"] = (1.0 - (update - 1.0) / updates) * start
        with torch.no_grad():
            observed = torch.randn(32, 4)
            actions, before, _, values = agent(observed)
            returns = (actions == (observed[:, 0] > 0)).float()
            advantages = returns - values
        for _ in range(2):
            for chosen in torch.randperm(32).split(16):
                _, after, entropy, value = agent(observed[chosen], actions[chosen])
                ratio, gains = (after - before[chosen]).exp(), advantages[chosen]
                gains = (gains - gains.mean()) / (gains.std() + 1e-8)
                policy_loss = -torch.min(gains * ratio, gains * ratio.clamp(0.8, 1.2)).mean()
                value_loss = 0.5 * (value - returns[chosen]).square().mean()
                loss = policy_loss - 0.01 * entropy.mean() + 0.5 * value_loss
                optimizer.zero_grad()
                loss.backward()
                truth.put(grad_norm_preclip=norm(p.grad for p in agent.parameters()))  # truth
                torch.nn.utils.clip_grad_norm_(agent.parameters(), 1.0)
                truth.step(optimizer, loss)  # truth
                optimizer.step()
    run.end()  # added


@program("three lines: an optimizer in backward")
def fused(truth: Truth, options: Options) -> None:
    """The tutorial of torch that steps and frees each gradient as soon as it is there."""
    import lrtrack  # added

    model = Letters()
    optimizers = {p: Adam([p], lr=1e-3, foreach=False) for p in model.parameters()}
    passes = Passes(truth, optimizers)  # truth

    def hook(parameter: torch.Tensor) -> None:
        own = optimizers[parameter]  # type: ignore[index]
        passes.step(own)  # truth
        own.step()
        own.zero_grad()

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(hook)
    run = lrtrack.start(optimizers, **options)  # added
    for _ in range(10):
        letters = torch.randint(8, (16, 9))
        _, loss = model(letters[:, :-1], letters[:, 1:])
        loss.backward()
        passes.end(loss)  # truth
    run.end()  # added


@program("three lines: no optimizer")
def no_optimizer(truth: Truth, options: Options) -> None:
    """makemore's loop moves the weights itself; the run ends with the program."""
    import lrtrack  # added

    model = Letters()
    run = lrtrack.start(None, **options)  # added
    for step in range(60):
        letters = torch.randint(8, (16, 9))
        _, loss = model(letters[:, :-1], letters[:, 1:])
        for parameter in model.parameters():
            parameter.grad = None
        loss.backward()
        lr = 0.1 if step < 40 else 0.01
        for parameter in model.parameters():
            parameter.data += -lr * parameter.grad  # type: ignore[operator]
        run.record(lr=lr, loss=loss)  # added
        truth.put(lr=lr, loss=number(loss))  # truth
        truth.steps += 1  # truth
    truth.schedule = "≈ step(steps=40)"  # truth
