"""Optimizers in backward before torch had `register_post_accumulate_grad_hook`: other hooks."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from .cases import LOCAL, STEPS, case
from .in_backward_cases import InBackward, Inner, Passes, each
from .tasks import Task
from .truth import Truth


def hooked(task: Task, passes: Passes, inner: Inner, of_tensors: bool) -> list[Any]:
    """Lets each optimizer step in a hook of its gradient's node, or of its tensor.

    Args:
        of_tensors: whether the hooks are the tensors', which are called before a gradient is
            added, so that the hook does so itself.

    Returns:
        The nodes, which forget their hooks when nothing refers to them.
    """
    nodes: list[Any] = []

    def step(parameter: torch.nn.Parameter) -> None:
        passes.step(inner[parameter])
        inner[parameter].step()
        inner[parameter].zero_grad()

    def given(gradient: torch.Tensor, parameter: torch.nn.Parameter) -> torch.Tensor:
        parameter.grad = gradient.clone()
        step(parameter)
        return torch.zeros_like(gradient)

    for parameter in task.model.parameters():
        if of_tensors:
            parameter.register_hook(partial(given, parameter=parameter))
        else:
            nodes.append(parameter.expand_as(parameter).grad_fn.next_functions[0][0])
            nodes[-1].register_hook(lambda *_, own=parameter: step(own))
    return nodes


def old_way(truth: Truth, *, of_tensors: bool, stands_in: bool) -> None:
    """The block has a mapping, or an optimizer that stands for those in the hooks."""
    task = Task()
    inner = each(task)
    passes = Passes(truth, inner)
    nodes = hooked(task, passes, inner, of_tensors)
    outer = InBackward(task.model.parameters(), {"lr": 0.1}) if stands_in else inner
    with truth.track(outer):
        for _ in range(STEPS):
            loss = task.loss()
            loss.backward()
            passes.end(loss)
    assert len(nodes) == (0 if of_tensors else len(inner))


for name, of_tensors, stands_in in (
    ("hooks of graph nodes", False, False),
    ("an optimizer beside hooks of graph nodes", False, True),
    ("an optimizer beside hooks of tensors", True, True),
):
    loop = partial(old_way, of_tensors=of_tensors, stands_in=stands_in)
    case(f"in backward: {name}", trackers=LOCAL)(loop)
