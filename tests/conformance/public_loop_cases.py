"""The shapes of public language-model and reinforcement-learning loops, which set rates by hand.

Each is written anew after how the named project moves its learning rate; the label says what a
reader of the project's settings would.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from torch.optim import Adam, AdamW
from torch.optim.lr_scheduler import LambdaLR

from .cases import LOCAL, add, case
from .public_loops import by_hand, half_cosine, set_rate, update
from .tasks import Task
from .truth import Truth

#: Steps of a training and of its warm-up.
STEPS, WARMUP = 200, 20
PEAK, LOW = 6e-4, 6e-5


def warmup_cosine(step: int, first: int, over: int, last: int = 160) -> float:
    """nanoGPT's rate: `(step + first) / over` in the warm-up, a cosine, then flat."""
    if step < WARMUP:
        return PEAK * (step + first) / over
    if step > last:
        return LOW
    return LOW + (PEAK - LOW) * half_cosine((step - WARMUP) / (last - WARMUP))


def trapezoid(step: int) -> float:
    """llm.c's rate: warm-up, flat, and down to zero."""
    if step < WARMUP:
        return PEAK * (step + 1) / WARMUP
    return PEAK if step < 140 else PEAK * (STEPS - step) / 60


def root_cooldown(step: int) -> float:
    """A warm-up, a constant rate, and a decay by one minus the square root."""
    if step < 140:
        return PEAK * min(1, (step + 1) / WARMUP)
    return PEAK * (1 - math.sqrt((step - 140) / 60))


def inverse_root(step: int) -> float:
    """fairseq's rate after `step` updates: from 1e-7 to the peak, then its inverse root."""
    if step < 40:
        return 1e-7 + step * (5e-4 - 1e-7) / 40
    return 5e-4 * math.sqrt(40 / step)


def noam(step: int) -> float:
    """The rate of the annotated Transformer, whose steps count from 1."""
    return float(64**-0.5 * min((step + 1) ** -0.5, (step + 1) * 40**-1.5))


def counted(step: int) -> float:
    """minGPT's rate, by tokens of which each batch has 16."""
    tokens = 16 * (step + 1)
    if tokens < 320:
        return 3e-4 * tokens / 320
    return 3e-4 * max(0.1, half_cosine((tokens - 320) / (2880 - 320)))


def multiplied(step: int) -> float:
    """A warm-up that is multiplied with a cosine over all steps."""
    return 1e-2 * min(1, (step + 1) / 10) * half_cosine(step / STEPS)


BY_HAND: dict[str, tuple[Any, str]] = {
    "nanoGPT from zero": (
        lambda step: warmup_cosine(step, 0, WARMUP),
        "≈ warmup(start=0, steps=20) → cosine(min_lr=6e-05, steps=140) → constant(factor=0.1)",
    ),
    "build-nanogpt": (
        lambda step: warmup_cosine(step, 1, WARMUP),
        "≈ warmup(lasts=20, start=0.05, steps=19) → cosine(min_lr=6e-05, steps=140) → "
        "constant(factor=0.1)",
    ),
    "lit-gpt": (
        lambda step: warmup_cosine(step, 0, WARMUP, STEPS),
        "≈ warmup(start=0, steps=20) → cosine(min_lr=6e-05, steps=180)",
    ),
    "llm.c trapezoid": (trapezoid, "≈ wsd(decay=60, start=0.05, steps=200, warmup=19)"),
    "WSD with a root cooldown": (
        root_cooldown,
        "≈ wsd(decay=60, shape=sqrt, start=0.05, steps=200, warmup=19)",
    ),
    "minGPT": (
        counted,
        "≈ warmup(start=0.05, steps=19) → cosine(lasts=128, steps=160) → constant(factor=0.1)",
    ),
    "fairseq": (
        inverse_root,
        "≈ warmup(start=0.0002, steps=40) → inverse_sqrt(timescale=40)",
    ),
    "Noam": (noam, "≈ warmup(start=0.025, steps=39) → inverse_sqrt(timescale=40)"),
    "a warm-up multiplied with a cosine": (
        multiplied,
        "≈ linear(end=0.997, start=0.101, steps=9) → cosine(skip=9, steps=200)",
    ),
}
for _name, (_rate, _label) in BY_HAND.items():
    add(
        f"public loop: {_name}",
        partial(by_hand, rate=_rate, steps=STEPS, label=_label),
        trackers=LOCAL,
    )


@case("public loop: nanoGPT")
def nanogpt(truth: Truth) -> None:
    """A warm-up from one step, a cosine, then flat, written into both groups before each step."""
    label = (
        "≈ warmup(start=0.0476, steps=20) → cosine(min_lr=6e-05, steps=140) → constant(factor=0.1)"
    )
    by_hand(truth, lambda step: warmup_cosine(step, 1, WARMUP + 1), STEPS, label)


@case("public loop: CleanRL PPO", trackers=LOCAL)
def cleanrl(truth: Truth) -> None:
    """The rate is annealed by update, and each update makes several steps."""
    truth.schedule = "≈ linear(end=0, interval=8, start=1, steps=25)"
    task = Task()
    optimizer = Adam(task.model.parameters(), lr=2.5e-4, eps=1e-5)
    updates, epochs, minibatches = 25, 2, 4
    with truth.track(optimizer):
        for iteration in range(1, updates + 1):
            set_rate(optimizer, 2.5e-4 * (1.0 - (iteration - 1.0) / updates))
            for _ in range(epochs * minibatches):
                update(truth, task, optimizer)


@case("public loop: Stable-Baselines3", trackers=LOCAL)
def stable_baselines(truth: Truth) -> None:
    """The rate is a function of the progress that remains, evaluated before each training."""
    truth.schedule = "≈ linear(end=0, interval=10, start=1, steps=20)"
    task = Task()
    optimizer = Adam(task.model.parameters(), lr=3e-4)
    timesteps, total, rollout = 0, 1280, 64
    with truth.track(optimizer):
        while timesteps < total:
            set_rate(optimizer, 3e-4 * (1.0 - timesteps / total))
            timesteps += rollout
            for _ in range(10):
                update(truth, task, optimizer)


@case("public loop: transformers without its Trainer", needs="transformers", trackers=LOCAL)
def no_trainer(truth: Truth) -> None:
    """`get_scheduler`, stepped once per accumulated step."""
    from transformers.optimization import get_scheduler

    truth.schedule = (
        "LambdaLR(lr_lambda=transformers.optimization._get_linear_schedule_with_warmup_lr_lambda("
        "num_training_steps=100, num_warmup_steps=10))"
    )
    task = Task()
    optimizer = AdamW(task.model.parameters(), lr=5e-5)
    scheduler = get_scheduler("linear", optimizer, num_warmup_steps=10, num_training_steps=100)
    with truth.track(optimizer, scheduler):
        total = 0.0
        for step in range(400):
            loss = task.loss() / 4
            loss.backward()
            total += loss.item()
            if step % 4 == 3:
                truth.step(optimizer, total, calls=4)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
                total = 0.0


#: Where the functions below are, as labels have it.
CLOSURES = __name__


def constant_with_warmup(optimizer: Any, num_warmup_steps: int) -> LambdaLR:
    """diffusers' schedule, a closure over its settings."""

    def lr_lambda(current_step: int) -> float:
        return min(1.0, current_step / max(1.0, num_warmup_steps))

    return LambdaLR(optimizer, lr_lambda)


def cosine_with_warmup(
    optimizer: Any, num_warmup_steps: int, num_training_steps: int, num_cycles: float = 0.5
) -> LambdaLR:
    """torchtune's and diffusers' schedule, a closure over its settings."""

    def lr_lambda(current_step: int) -> float:
        if current_step < num_warmup_steps:
            return current_step / max(1, num_warmup_steps)
        progress = (current_step - num_warmup_steps) / max(1, num_training_steps - num_warmup_steps)
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * num_cycles * 2.0 * progress)))

    return LambdaLR(optimizer, lr_lambda)


def closures(truth: Truth, build: Any, settings: dict[str, Any], label: str) -> None:
    """A scheduler whose settings are in the closure of its function."""
    truth.schedule = label
    task = Task()
    optimizer = AdamW(task.model.parameters(), lr=1e-4)
    scheduler = build(optimizer, **settings)
    with truth.track(optimizer, scheduler):
        for _ in range(100):
            update(truth, task, optimizer)
            scheduler.step()


add(
    "public loop: diffusers",
    partial(
        closures,
        build=constant_with_warmup,
        settings={"num_warmup_steps": 10},
        label=f"LambdaLR(lr_lambda={CLOSURES}.constant_with_warmup.<locals>.lr_lambda(num_warmup_steps=10))",
    ),
    trackers=LOCAL,
)
add(
    "public loop: torchtune",
    partial(
        closures,
        build=cosine_with_warmup,
        settings={"num_warmup_steps": 10, "num_training_steps": 100},
        label=(
            f"LambdaLR(lr_lambda={CLOSURES}.cosine_with_warmup.<locals>.lr_lambda("
            "num_cycles=0.5, num_training_steps=100, num_warmup_steps=10))"
        ),
    ),
    trackers=LOCAL,
)
