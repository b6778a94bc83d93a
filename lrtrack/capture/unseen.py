"""Why a block saw no optimizer step: what stepped instead, observed until the first own step."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch._C import _current_graph_task_id as _pass
from torch.optim.optimizer import _global_optimizer_post_hooks as _hooks
from torch.optim.optimizer import register_optimizer_step_post_hook

from lrtrack.capture.thread_state import current_notes

#: Packages whose engines step optimizers in ways that torch's hooks do not see.
_ENGINES = ("deepspeed", "colossalai", "megatron")


class Unseen:
    """Notes steps of other optimizers through torch's global hook.

    Attributes:
        own: ids of the tracked optimizers, whose steps are not noted.
        steps: class name → steps that other optimizers made.
        optimizers: their ids.
        in_backward: whether a step was made inside `backward()`.
        names: the class names of the tracked optimizers.
        compiled: whether torch has compiled a step of the tracked optimizer.
    """

    def __init__(self, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        by_id = {id(optimizer): type(optimizer).__name__ for optimizer in optimizers}
        self.own = by_id.keys()
        self.names = tuple(dict.fromkeys(by_id.values()))
        self.compiled = False
        self.steps: Counter[str] = Counter()
        self.optimizers: set[int] = set()
        self.in_backward = False

    def start(self) -> None:
        """Begin to note steps. Idempotent, because the captures of several optimizers share it."""
        if self._note not in _hooks.values():
            register_optimizer_step_post_hook(self._note)

    def stop(self) -> None:
        """End it. Idempotent; it needs no handle, as an interrupt may come before that is kept."""
        for key, hook in list(_hooks.items()):
            if hook == self._note:
                _hooks.pop(key, None)

    def _note(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if id(optimizer) in self.own or current_notes().away:
            return
        self.steps[type(optimizer).__name__] += 1
        self.optimizers.add(id(optimizer))
        self.in_backward = self.in_backward or _pass() != -1

    def engine(self) -> str:
        """The name of an imported engine that may step optimizers; empty if there is none."""
        return next((name for name in _ENGINES if name in sys.modules), "")
