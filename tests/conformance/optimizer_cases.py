"""x"""

from __future__ import annotations

from torch.optim import SGD

from .cases import STEPS, case
from .truth import Task, Truth


@case("sgd with momentum")
def sgd_with_momentum(truth: Truth) -> None:
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1, momentum=0.9)
    with truth.track(optimizer):
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = task.loss()
            loss.backward()
            truth.step(optimizer, loss)
            optimizer.step()
