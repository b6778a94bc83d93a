"""A training that fails and is started again with the same callback."""

from __future__ import annotations

from typing import Any

import pytest

from lrtrack.integrations.lightning import LRTrack
from lrtrack.records import State

from .modules import NOISE, Module, fit

pytestmark = NOISE


class Large(Module):
    """A training that runs out of memory in batch number `at`."""

    at = 3

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Trains like the others, up to that batch."""
        if batch_idx == self.at:
            raise RuntimeError("CUDA out of memory.")
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("at", [3, 0])
def test_a_second_fit_after_a_failure(digits, local, at: int) -> None:
    """A second fit after a failure, by a new Trainer on a new optimizer, is recorded completely."""
    callback, module = LRTrack(tracker="local"), Large(digits())
    module.at = at
    with pytest.raises(RuntimeError, match="out of memory"):
        fit(module, callback)
    fit(Module(digits()), callback)
    runs = [(history.state, history.steps.tolist()) for history in reversed(local())]

    assert runs[-1] == (State.FINISHED, list(range(12)))
    assert runs[:-1] in ([(State.FAILED, list(range(at)))], [])


def test_two_trainings_with_one_callback(digits, local) -> None:
    """Two trainings with one callback have a run each."""
    callback = LRTrack(tracker="local")
    for _ in range(2):
        fit(Module(digits()), callback)

    assert [history.state for history in local()] == [State.FINISHED] * 2
    assert [history.steps.size for history in local()] == [12, 12]
