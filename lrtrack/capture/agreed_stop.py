"""Ends a training at the same step in all of its processes."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import torch

from lrtrack.capture.optimizers import world_size
from lrtrack.capture.sharded import group_store

#: Processes ask for news before every step whose number is a multiple of this. Those that train
#: together are never so many steps apart.
EVERY = 16

#: Processes open their blocks in the same order, so that a number identifies one in all of them.
_numbers = count()


class AgreedStop:
    """One process announces that the training ends, and each one learns it at the same step.

    Processes that train together exchange gradients in every step: if one of them stopped alone,
    the others would wait for it without end. The default process group's store is used, and no
    collective, because those of the training must keep their order.
    """

    def __init__(self) -> None:
        self._key = f"lrtrack/stop/{next(_numbers)}"
        self._store: Any = group_store() if world_size() > 1 else None
        self._diagnosis: dict[str, str] | None = None

    def announce(self, diagnosis: dict[str, str], step: int) -> None:
        """End the training soon, unless that is announced already; called by any thread.

        Args:
            diagnosis: why.
            step: the last step so far.
        """
        if self._diagnosis is not None:
            return
        self._diagnosis = diagnosis
        if self._store is not None:
            at = (step // EVERY + 2) * EVERY
            self._store.set(self._key, json.dumps({"step": at, "diagnosis": diagnosis}))

    def reached(self, step: int) -> dict[str, str] | None:
        """Why the training ends before `step`; None if it goes on. Called before each step."""
        if self._store is None:
            return self._diagnosis
        if step % EVERY:
            return None
        try:
            if not self._store.check([self._key]):
                return None
            news: dict[str, Any] = json.loads(self._store.get(self._key))
        except (RuntimeError, torch.distributed.DistError):  # the store's process has gone
            return None
        diagnosis: dict[str, str] = news["diagnosis"]
        return diagnosis if step >= news["step"] else None
