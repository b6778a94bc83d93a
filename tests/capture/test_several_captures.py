"""Several captures at once, in threads, blocks and one loop."""

from __future__ import annotations

import threading
from typing import Any

from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD


def test_two_threads_never_mix(make, watch) -> None:
    """Two trainings in two threads each record their own losses."""
    barrier = threading.Barrier(2)
    truth: dict[int, list[tuple[float, float]]] = {0: [], 1: []}
    recording: dict[int, Any] = {}
    jobs = {seed: make(seed) for seed in truth}

    def train(seed: int) -> None:
        model, loss = jobs[seed]
        model.eval()
        optimizer = SGD(model.parameters(), lr=0.1)
        with watch(optimizer) as recording[seed]:
            for _ in range(50):
                optimizer.zero_grad()
                value = loss()
                barrier.wait(300)
                value.backward()
                norm = float(clip_grad_norm_(model.parameters(), 1e6))
                barrier.wait(300)
                optimizer.step()
                truth[seed].append((value.item(), norm))

    threads = [threading.Thread(target=train, args=(seed,)) for seed in truth]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)

    for seed, rows in truth.items():
        columns = recording[seed].column("loss"), recording[seed].column("grad_norm_preclip")
        assert len(rows) == 50
        assert list(zip(*columns, strict=True)) == rows


def test_two_captures_of_one_optimizer_see_the_same(make, watch) -> None:
    """Two nested blocks on one optimizer both have complete records."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    truth = []
    with watch(optimizer) as outer:
        for inside in (False, True, True, False):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            truth.append((value.item(), float(clip_grad_norm_(model.parameters(), 1e6))))
            if inside and len(truth) == 2:
                block = watch(optimizer)
                inner = block.__enter__()
            optimizer.step()
            if len(truth) == 3:
                block.__exit__(None, None, None)

    def rows(recording: Any) -> list[tuple[float, float]]:
        return list(
            zip(recording.column("loss"), recording.column("grad_norm_preclip"), strict=True)
        )

    assert rows(outer) == truth
    assert rows(inner) == truth[1:3]
    assert inner.steps == [0, 1]


def test_a_loss_counts_in_one_step_only(make, watch) -> None:
    """With two tracked optimizers, a loss belongs to the first step after it, of either one."""
    one, other = make(1), make(2)
    first, second = SGD(one[0].parameters(), lr=0.1), SGD(other[0].parameters(), lr=0.1)
    with watch(first) as first_recording, watch(second) as second_recording:
        value = one[1]()
        value.backward()
        first.step()
        second.step()
        more = other[1]()
        more.backward()
        second.step()
        first.step()

    assert first_recording.column("loss") == [value.item(), None]
    assert second_recording.column("loss") == [None, more.item()]
