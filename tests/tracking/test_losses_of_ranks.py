"""Rows of rank 0 that wait for the losses of other processes, in one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import lrtrack
from lrtrack.capture.rank_mail import Mailbox, Place, encode
from lrtrack.errors import LRTrackWarning, UsageError
from lrtrack.tracking import gathered_losses, rank_losses
from lrtrack.tracking.gathered_losses import GatheredLosses

Row = tuple[int, float, dict[str, Any]]


class Counting:
    """A capture that has made some steps."""

    made = 0


@pytest.fixture
def rows() -> Callable[..., list[Row]]:
    """Makes rows of steps as rank 0 holds them, the loss of step n being n."""

    def make(losses: GatheredLosses, count: int) -> list[Row]:
        made: list[Row] = []
        capture: Any = Counting()
        record = losses.holding(lambda *row: made.append(row), capture, is_whole=True)
        for step in range(count):
            capture.made = step + 1
            record(step, 0.0, {"lr": 0.1, "loss": float(step)})
        return made

    return make


def test_rows_wait_for_all_processes(rows) -> None:
    """A row can be written once all processes have sent its loss; one that ends waits no more."""
    store = torch.distributed.HashStore()
    boxes = [Mailbox("waits", lambda rank=rank: Place(store, rank, 3)) for rank in range(3)]
    assert [box.connect() for box in boxes] == [True] * 3
    losses = GatheredLosses(boxes[0], ["loss"])
    held = rows(losses, 3)
    ready = [losses.ready(held)]
    for rank, made, is_last in [(1, 1, False), (2, 3, False), (1, 2, True)]:
        boxes[rank].send(encode([(made, {"loss": 4.0})], made, is_last=is_last))
        losses._exchange(False)
        ready.append(losses.ready(held))
    losses.settle(held)

    assert ready == [0, 0, 1, 3]
    assert [row[2]["loss"] for row in held] == [(0.0 + 4.0) / 2, (1.0 + 4.0) / 2, (2.0 + 4.0) / 2]
    with pytest.warns(LRTrackWarning, match="1 of rank 1, 2 of rank 2"):
        losses.finish()


def test_nobody_answers(rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows wait for a limited time, after which they have rank 0's own losses."""
    losses = GatheredLosses(Mailbox("alone", lambda: None), ["loss"])
    held = rows(losses, 2)
    waiting = losses.ready(held)
    monkeypatch.setattr(gathered_losses, "PATIENCE", 0.0)
    with pytest.warns(LRTrackWarning, match="cannot find each other"):
        ready = losses.ready(held)
    losses.settle(held)

    assert (waiting, ready) == (0, 2)
    assert [row[2] for row in held] == [{"lr": 0.1, "loss": 0.0}, {"lr": 0.1, "loss": 1.0}]


def test_a_process_without_a_loss_of_its_own(rows) -> None:
    """A pipeline's first stage has no loss: the mean is over the processes that have one."""
    store = torch.distributed.HashStore()
    first, last = (Mailbox("stages", lambda rank=rank: Place(store, rank, 2)) for rank in range(2))
    first.connect()
    last.connect()
    losses = GatheredLosses(first, ["loss"], prefix="p/")
    held: list[Row] = []
    capture: Any = Counting()
    record = losses.holding(
        lambda step, when, metrics: held.append(
            (step, when, {f"p/{name}": value for name, value in metrics.items()})
        ),
        capture,
        is_whole=True,
    )
    for capture.made in (1, 2):
        record(capture.made - 1, 0.0, {"lr": 0.1})
    last.send(encode([(1, {"loss": 0.5}), (2, {})], 2, is_last=True))
    losses._exchange(False)
    losses.settle(held)

    assert [row[2] for row in held] == [{"p/lr": 0.1, "p/loss": 0.5}, {"p/lr": 0.1}]


def test_a_single_process_has_its_own_loss(clean_place, recwarn: pytest.WarningsRecorder) -> None:
    """With one process `loss_over` changes nothing and says nothing, and begins no thread."""
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    with lrtrack.track(optimizer, tracker="local", loss_over="mean") as run:
        kind = type(run._recording._ranks)
        (weight * 3).backward()
        optimizer.step()

    assert (kind, run.summary()["loss"]) == (rank_losses.Alone, 3.0)
    assert [str(w.message) for w in recwarn if issubclass(w.category, LRTrackWarning)] == []


@pytest.mark.parametrize("value", ["sum", "", True, 1, ["mean"]])
def test_a_wrong_value_is_refused(value: Any) -> None:
    """Anything but None and "mean" is refused before the block."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.5)

    with pytest.raises(UsageError, match="loss_over"):
        lrtrack.track(optimizer, loss_over=value)
