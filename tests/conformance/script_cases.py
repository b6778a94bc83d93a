"""Loops of well-known scripts, recorded by a few added lines, with none indented anew.

Each is written anew in the shape of the script that its docstring names. The lines that a user adds
end with `# added`; test_added_lines.py counts them, and runs the loops without them. A run whose
script does not end it ends with the program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.optim import Adam, AdamW

from lrtrack.tracking import unended

from .cases import LOCAL, add
from .in_backward_cases import Passes
from .public_loops import Rounds, half_cosine, two_groups
from .public_several_cases import Adversaries
from .tasks import Task
from .truth import Truth, number

#: Trains, and returns what it has trained.
Script = Callable[[Truth], list[torch.Tensor]]

SCRIPTS: dict[str, Script] = {}


def script(name: str, label: str, trackers: tuple[str, ...] = LOCAL) -> Callable[[Script], Script]:
    """Adds the decorated function to the table; `label` is that of its schedule."""

    def register(train: Script) -> Script:
        def loop(truth: Truth) -> None:
            truth.schedule = label
            train(truth)
            unended._end_all(failed=False, interrupted=False)

        SCRIPTS[name] = train
        add(f"script: {name}", loop, trackers=trackers)
        return train

    return register


class Trainer:
    """A model and its data, whose `run` makes batches until the iterations are used up."""

    def __init__(self, truth: Truth, max_iters: int) -> None:
        self.truth = truth
        self.task = Task()
        self.max_iters = max_iters
        self.iter_num = 0
        self.callbacks: dict[str, list[Callable[[Trainer], None]]] = {}

    def run(self) -> None:
        """The whole training."""
        import lrtrack  # added

        model = self.task.model
        optimizer = two_groups(self.task, 5e-4)
        recorded = lrtrack.start(optimizer, **self.truth.options())  # added
        model.train()
        while True:
            loss = self.task.loss()
            model.zero_grad(set_to_none=True)
            loss.backward()
            preclip = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            self.truth.put(grad_norm_preclip=number(preclip))
            self.truth.step(optimizer, loss)
            optimizer.step()
            for callback in self.callbacks.get("on_batch_end", []):
                callback(self)
            self.iter_num += 1
            if self.iter_num >= self.max_iters:
                break
        recorded.end()  # added


@script("minGPT", "constant")
def mingpt(truth: Truth) -> list[torch.Tensor]:
    """minGPT: a trainer's method with an endless loop, clipping, and a constant rate."""
    trainer = Trainer(truth, 30)
    trainer.run()
    return list(trainer.task.model.parameters())


@script(
    "nanoGPT",
    "≈ warmup(start=0, steps=20) → cosine(min_lr=6e-05, steps=60) → constant(factor=0.1)",
    trackers=("mlflow",),
)
def nanogpt(truth: Truth) -> list[torch.Tensor]:
    """nanoGPT: rates by hand for each group, accumulation, clipping, a scaler that is disabled."""
    import lrtrack  # added

    peak, low, warmup, decay, accumulated = 6e-4, 6e-5, 20, 80, 4

    def get_lr(it: int) -> float:
        if it < warmup:
            return peak * it / warmup
        if it > decay:
            return low
        return low + half_cosine((it - warmup) / (decay - warmup)) * (peak - low)

    task = Task()
    optimizer = two_groups(task, peak)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    recorded = lrtrack.start(optimizer, **truth.options())  # added
    iter_num = 0
    while True:
        lr = get_lr(iter_num)
        for param_group in optimizer.param_groups:
            param_group["lr"] = lr
        total = 0.0
        for _ in range(accumulated):
            loss = task.loss() / accumulated
            total += number(loss)
            scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        preclip = torch.nn.utils.clip_grad_norm_(task.model.parameters(), 1.0)
        truth.put(grad_norm_preclip=number(preclip))
        truth.step(optimizer, total, calls=accumulated)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        iter_num += 1
        if iter_num > 120:
            break
    recorded.end()  # added
    return list(task.model.parameters())


@script("GAN", "constant")
def gan(truth: Truth) -> list[torch.Tensor]:
    """The tutorial's GAN: the generator steps first, then the discriminator."""
    import lrtrack  # added

    nets, rounds = Adversaries(), Rounds(truth)
    ones, zeros = torch.ones(16, 1), torch.zeros(16, 1)
    optimizer_g = Adam(nets.generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_d = Adam(nets.judge.parameters(), lr=1e-4, betas=(0.5, 0.999))
    optimizers = {"G": optimizer_g, "D": optimizer_d}
    recorded = lrtrack.start(optimizers, **truth.options())  # added
    for _ in range(20):
        optimizer_g.zero_grad()
        fakes = nets.fake()
        g_loss = bce(nets.judge(fakes), ones)
        g_loss.backward()
        rounds.step("G", optimizer_g, [g_loss])
        optimizer_g.step()
        optimizer_d.zero_grad()
        real, fake = bce(nets.judge(nets.real()), ones), bce(nets.judge(fakes.detach()), zeros)
        d_loss = (real + fake) / 2
        d_loss.backward()
        rounds.step("D", optimizer_d, [d_loss])
        optimizer_d.step()
        rounds.end()
    recorded.end()  # added
    return [*nets.generator.parameters(), *nets.judge.parameters()]


def minibatches(size: int, length: int) -> Iterator[torch.Tensor]:
    """Yields the places of minibatches, shuffled."""
    yield from torch.randperm(size).split(length)


@script("PPO", "≈ linear(end=0, interval=16, start=1, steps=10)")
def ppo(truth: Truth) -> list[torch.Tensor]:
    """CleanRL's PPO: epochs of minibatches on each batch, and a rate that each batch lowers."""
    import lrtrack  # added

    updates, size = 10, 64
    actor, critic = torch.nn.Linear(4, 2), torch.nn.Linear(4, 1)
    parameters = [*actor.parameters(), *critic.parameters()]
    optimizer = Adam(parameters, lr=2.5e-3, eps=1e-5)
    recorded = lrtrack.start(optimizer, **truth.options())  # added
    for update in range(1, updates + 1):
        optimizer.param_groups[0]["lr"] = (1.0 - (update - 1.0) / updates) * 2.5e-3
        seen, gains = torch.randn(size, 4), torch.randn(size)
        with torch.no_grad():
            before = torch.distributions.Categorical(logits=actor(seen))
            actions = before.sample()
            known = before.log_prob(actions)
        for _ in range(4):
            for at in minibatches(size, 16):
                policy = torch.distributions.Categorical(logits=actor(seen[at]))
                ratio = (policy.log_prob(actions[at]) - known[at]).exp()
                clipped = torch.clamp(ratio, 0.8, 1.2)
                policy_loss = torch.max(-gains[at] * ratio, -gains[at] * clipped).mean()
                value_loss = 0.5 * (critic(seen[at]).flatten() - gains[at]).square().mean()
                loss = policy_loss - 0.01 * policy.entropy().mean() + 0.5 * value_loss
                optimizer.zero_grad()
                loss.backward()
                preclip = torch.nn.utils.clip_grad_norm_(parameters, 0.5)
                truth.put(grad_norm_preclip=number(preclip))
                truth.step(optimizer, loss)
                optimizer.step()
    recorded.end()  # added
    return list(parameters)


@script("optimizer in backward", "constant")
def in_backward(truth: Truth) -> list[torch.Tensor]:
    """torch's tutorial on memory: a hook of each parameter steps its optimizer, and frees it."""
    import lrtrack  # added

    task = Task()
    optimizer_dict = {p: AdamW([p], lr=1e-3, foreach=False) for p in task.model.parameters()}
    passes = Passes(truth, optimizer_dict)

    def optimizer_hook(parameter: Any) -> None:
        passes.step(optimizer_dict[parameter])
        optimizer_dict[parameter].step()
        optimizer_dict[parameter].zero_grad()

    for p in task.model.parameters():
        p.register_post_accumulate_grad_hook(optimizer_hook)
    recorded = lrtrack.start(optimizer_dict, **truth.options())  # added
    for _ in range(20):
        loss = task.loss()
        loss.backward()
        passes.end(loss)
    recorded.end()  # added
    return list(task.model.parameters())


@script("no optimizer", "≈ exponential(gamma=0.98)", trackers=("mlflow",))
def no_optimizer(truth: Truth) -> list[torch.Tensor]:
    """A textbook's gradient descent: weights and their rate are variables of the loop."""
    import lrtrack  # added

    inputs = torch.randn(64, 3)
    targets = inputs @ torch.tensor([1.0, -2.0, 0.5]) + 3
    weights, bias = torch.zeros(3, requires_grad=True), torch.zeros(1, requires_grad=True)
    run = lrtrack.start(None, **truth.options())  # added
    for epoch in range(60):
        lr = 0.05 * 0.98**epoch
        loss = (inputs @ weights + bias - targets).square().mean()
        loss.backward()
        assert weights.grad is not None
        assert bias.grad is not None
        truth.put(lr=lr, loss=number(loss))
        truth.steps += 1
        with torch.no_grad():
            weights -= lr * weights.grad
            bias -= lr * bias.grad
        run.record(lr=lr, loss=loss)  # added
        weights.grad.zero_()
        bias.grad.zero_()
    return [weights, bias]
