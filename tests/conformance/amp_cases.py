"""Mixed precision: gradient scalers, skipped steps, fused optimizers, autocast.

Scales are powers of two, so that dividing by them is exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import StepLR

from .cases import STEPS, add, case
from .tasks import Task, train
from .truth import Truth, norm, number

#: The step at which an infinite gradient makes the scaler skip.
BAD = 2
SCALE = 1024.0
TENTH = partial(SGD, lr=0.1)
FUSED = partial(Adam, lr=0.01, fused=True)
FUSED_SGD = partial(SGD, lr=0.1, fused=True)


def scaler() -> GradScaler:
    """A scaler that soon grows its scale."""
    return GradScaler("cpu", init_scale=SCALE, growth_interval=2)


def spoil(task: Task) -> None:
    """Makes a gradient infinite, as an overflow does."""
    next(iter(task.model.parameters())).grad[0] = math.inf


def scaled(
    truth: Truth,
    *,
    build: Callable[..., Any] = TENTH,
    unscale: bool = False,
    clip: float | None = None,
    bad: int | None = None,
    parts: int = 1,
) -> None:
    """A loop with a scaler; `bad` is the attempt whose gradients overflow."""
    task = Task()
    optimizer = build(task.model.parameters())
    scheduler, amp = StepLR(optimizer, 2, gamma=0.5), scaler()
    with truth.track(optimizer, scheduler):
        for attempt in range(STEPS):
            optimizer.zero_grad()
            total = 0.0
            for _ in range(parts):
                loss = task.loss() / parts
                amp.scale(loss).backward()
                total += number(loss)
            if attempt == bad:
                spoil(task)
            scale = amp.get_scale()
            if unscale:
                amp.unscale_(optimizer)
                scale = 1.0
            if clip is not None and attempt != bad:
                truth.put(grad_norm_preclip=norm(p.grad for p in task.model.parameters()))
            if clip is not None:
                clip_grad_norm_(task.model.parameters(), clip)
            if attempt != bad:
                truth.step(optimizer, total, scale, parts)
            amp.step(optimizer)
            amp.update()
            if attempt != bad:
                scheduler.step()


add("scaler", scaled)
add("scaler with unscale_", partial(scaled, unscale=True))
add("scaler with unscale_ and clipping", partial(scaled, unscale=True, clip=0.05))
add("scaler with accumulation", partial(scaled, parts=3))
add("scaler that skips a step", partial(scaled, bad=BAD))
add("scaler that skips the first step", partial(scaled, bad=0))
add("scaler that skips the last step", partial(scaled, bad=STEPS - 1))
add("scaler that skips after unscale_", partial(scaled, unscale=True, clip=0.05, bad=BAD))
add("scaler that skips an accumulation", partial(scaled, parts=3, bad=BAD))
add("scaler, fused optimizer", partial(scaled, build=FUSED))
add("scaler, fused optimizer, unscale_", partial(scaled, build=FUSED, unscale=True, clip=0.05))
add("scaler, fused optimizer that skips", partial(scaled, build=FUSED, bad=BAD))
add("scaler, fused SGD that skips", partial(scaled, build=FUSED_SGD, bad=BAD))
add(
    "scaler, fused optimizer that skips after unscale_",
    partial(scaled, build=FUSED, unscale=True, clip=0.05, bad=BAD),
)


@case("scaler that is switched off")
def switched_off(truth: Truth) -> None:
    """`GradScaler(enabled=False)` passes everything through."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    amp = GradScaler("cpu", enabled=False)
    with truth.track(optimizer):
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = task.loss()
            amp.scale(loss).backward()
            truth.step(optimizer, loss)
            amp.step(optimizer)
            amp.update()


@case("a scaled loss that is divided afterwards")
def divided_after(truth: Truth) -> None:
    """With `scaler.scale(loss) / k`, backward runs on another tensor than `scale` returned."""
    task, amp = Task(), scaler()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    with truth.track(optimizer):
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = task.loss()
            (amp.scale(loss) / 4).backward()
            truth.step(optimizer, number(loss) / 4, amp.get_scale())
            amp.step(optimizer)
            amp.update()


@case("two scaled losses that are added up")
def added_up(truth: Truth) -> None:
    """With `(scale(a) + scale(b)).backward()`, the losses are 32-bit sums that are exact in their
    type.
    """
    task, amp = Task(), scaler()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    with truth.track(optimizer):
        for _ in range(STEPS):
            optimizer.zero_grad()
            first, second = task.loss(), task.loss()
            (amp.scale(first) + amp.scale(second)).backward()
            truth.step(optimizer, first + second, amp.get_scale())
            amp.step(optimizer)
            amp.update()


@case("several losses scaled in one call")
def scaled_list(truth: Truth) -> None:
    """`scaler.scale([a, b])` and backward of the list record both losses."""
    task, amp = Task(), scaler()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    with truth.track(optimizer):
        for _ in range(STEPS):
            optimizer.zero_grad()
            losses = [task.loss(), task.loss()]
            torch.autograd.backward(list(amp.scale(losses)))
            truth.step(optimizer, number(losses[0]) + number(losses[1]), amp.get_scale())
            amp.step(optimizer)
            amp.update()


@case("one scaler for two optimizers")
def two_optimizers(truth: Truth) -> None:
    """One optimizer skips a step and the other does not; neither gets the other's loss."""
    other, amp = truth.another("other"), scaler()
    tasks = Task(), Task()
    optimizers = [SGD(task.model.parameters(), lr=0.1) for task in tasks]
    with truth.track(optimizers[0]), other.track(optimizers[1]):
        for step in range(STEPS):
            for task, optimizer, book in zip(tasks, optimizers, (truth, other), strict=True):
                optimizer.zero_grad()
                loss = task.loss()
                amp.scale(loss).backward()
                if book is truth and step == BAD:
                    spoil(task)
                else:
                    book.step(optimizer, loss, amp.get_scale())
                amp.step(optimizer)
            amp.update()


@case("scaler's scale that falls")
def falling_scale(truth: Truth) -> None:
    """Two skips in a row, then steps at a quarter of the scale, with a scheduler."""
    task, amp = Task(), scaler()
    optimizer = Adam(task.model.parameters(), fused=True)
    scheduler = StepLR(optimizer, 1, gamma=0.5)
    with truth.track(optimizer, scheduler):
        for attempt in range(STEPS):
            optimizer.zero_grad()
            loss = task.loss()
            amp.scale(loss).backward()
            if attempt in (1, 2):
                spoil(task)
            else:
                truth.step(optimizer, loss, amp.get_scale())
            amp.step(optimizer)
            amp.update()
            scheduler.step()


def autocast(truth: Truth, amp: GradScaler | None) -> None:
    """Autocast runs forward in bfloat16, with float32 gradients."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    with truth.track(optimizer):
        for _ in range(STEPS):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = task.loss()
            (loss if amp is None else amp.scale(loss)).backward()
            truth.step(optimizer, loss, 1.0 if amp is None else amp.get_scale())
            if amp is None:
                optimizer.step()
            else:
                amp.step(optimizer)
                amp.update()


add("autocast", lambda truth: autocast(truth, None))
add("autocast with a scaler", lambda truth: autocast(truth, scaler()))


@case("autocast whose loss is bfloat16")
def half_loss(truth: Truth) -> None:
    """A loss in half precision is recorded unchanged."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)

    def loss() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return task.model(task.batch()[0]).square().mean().bfloat16()

    with truth.track(optimizer):
        train(truth, optimizer, loss)
