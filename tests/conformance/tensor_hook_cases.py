"""Optimizers that step in hooks of tensors, which are called before a gradient is added."""

from __future__ import annotations

from functools import partial

import torch

from .cases import LOCAL, STEPS, case
from .in_backward_cases import InBackward, Passes, each
from .tasks import Task
from .truth import Truth


@case("in backward: an optimizer beside hooks of tensors", trackers=LOCAL)
def of_tensors(truth: Truth) -> None:
    """Each hook puts its gradient in place, steps, and leaves nothing to add."""
    task = Task()
    inner = each(task)
    passes = Passes(truth, inner)

    def step(gradient: torch.Tensor, parameter: torch.nn.Parameter) -> torch.Tensor:
        parameter.grad = gradient.clone()
        passes.step(inner[parameter])
        inner[parameter].step()
        inner[parameter].zero_grad()
        return torch.zeros_like(gradient)

    for parameter in task.model.parameters():
        parameter.register_hook(partial(step, parameter=parameter))
    with truth.track(InBackward(task.model.parameters(), {"lr": 0.1})):
        for _ in range(STEPS):
            loss = task.loss()
            loss.backward()
            passes.end(loss)
