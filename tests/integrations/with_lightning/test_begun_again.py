"""A training that fails, and is begun again with the same callback."""

from __future__ import annotations

from typing import Any

import pytest

from lrtrack.integrations.lightning import LRTrack
from lrtrack.records import State

from .modules import NOISE, Module, fit

pytestmark = NOISE


class Large(Module):
    """A training that runs out of memory in its batch number `at`."""

    at = 3

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """As the others, up to that batch."""
        if batch_idx == self.at:
            raise RuntimeError("CUDA out of memory.")
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("at", [3, 0])
def test_a_second_fit_after_a_failure(digits, local, at: int) -> None:
    """By a new Trainer, on a new optimizer: it is recorded whole."""
    callback, module = LRTrack(tracker="local"), Large(digits())
    module.at = at
    with pytest.raises(RuntimeError, match="out of memory"):
        fit(module, callback)
    fit(Module(digits()), callback)
    runs = [(each.state, each.steps.tolist()) for each in reversed(local())]

    assert runs[-1] == (State.FINISHED, list(range(12)))
    assert runs[:-1] in ([(State.FAILED, list(range(at)))], [])


def test_two_trainings_with_one_callback(digits, local) -> None:
    """Each has a run of its own."""
    callback = LRTrack(tracker="local")
    for _ in range(2):
        fit(Module(digits()), callback)

    assert [each.state for each in local()] == [State.FINISHED] * 2
    assert [each.steps.size for each in local()] == [12, 12]
