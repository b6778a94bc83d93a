"""accelerate's training loop."""

from __future__ import annotations

from typing import Any


def prepare(found: Any, task: Any) -> None:
    """Replaces the task's objects by what `prepare` returns."""
    task.prepared = found.prepare(task.loader())
    task.model, task.optimizer, task.scheduler = found.prepare(
        task.model, task.optimizer, task.scheduler
    )


def train(found: Any, task: Any, clip: float | None = None, each: Any = None) -> None:
    """accelerate's loop as in its documentation; `each` is called at the end of a batch."""
    for number, (inputs, labels) in enumerate(task.prepared):
        with found.accumulate(task.model):
            found.backward(task.loss(inputs, labels))
            if found.sync_gradients and clip is not None:
                found.clip_grad_norm_(task.model.parameters(), clip)
            task.optimizer.step()
            task.scheduler.step()
            task.optimizer.zero_grad()
        if each is not None:
            each(number)
