"""Trainings in tasks of one event loop, which take turns between `backward()` and `step()`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import torch
import trio

import lrtrack
from lrtrack.capture import thread_state
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker

STEPS = 4
#: Suspends a task until the others have had their turn.
Turn = Callable[[], Awaitable[Any]]


@pytest.fixture(autouse=True)
def _place(clean_place: Any) -> None:
    """Each test has a directory of its own."""


def optimizer() -> tuple[torch.nn.Parameter, torch.optim.Optimizer]:
    """Returns a parameter and its optimizer."""
    weight = torch.nn.Parameter(torch.ones(()))
    return weight, torch.optim.SGD([weight], lr=0.1)


def block(own: torch.optim.Optimizer, name: str, **options: Any) -> Any:
    """Returns a block that records in the journals."""
    return lrtrack.track(own, tracker="local", experiment="x", name=name, **options)


async def train(weight: torch.nn.Parameter, own: torch.optim.Optimizer, first: float) -> None:
    """Trains with losses that count up from `first`, with turns of others at each point."""
    for step in range(STEPS):
        own.zero_grad()
        loss = weight * 0.0 + first + step
        await asyncio.sleep(0)
        loss.backward()
        await asyncio.sleep(0)
        torch.nn.utils.clip_grad_norm_([weight], 1.0)
        await asyncio.sleep(0)
        own.step()


def losses() -> dict[str, list[float]]:
    """Returns the losses of each run, by its name."""
    found = LocalTracker().histories(Query(experiment="x"))
    return {history.run.name: history.series("loss")[1].tolist() for history in found}


EXPECTED = {name: [first + step for step in range(STEPS)] for name, first in
            (("a", 0.0), ("b", 100.0), ("c", 200.0))}  # fmt: skip


def test_tasks_with_blocks_of_their_own() -> None:
    """Each of three tasks with a block records its own losses."""

    async def tracked(name: str, first: float) -> None:
        weight, own = optimizer()
        with block(own, name):
            await train(weight, own, first)

    async def main() -> None:
        await asyncio.gather(tracked("a", 0.0), tracked("b", 100.0), tracked("c", 200.0))

    asyncio.run(main())

    assert losses() == EXPECTED


def test_a_block_that_opens_while_another_task_waits_for_its_step() -> None:
    """A loss that is noted before the second block opens stays with the first task."""

    async def early() -> None:
        weight, own = optimizer()
        with block(own, "a"):
            weight.sum().backward()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            own.step()

    async def late() -> None:
        weight, own = optimizer()
        with block(own, "b"):
            (weight * 5.0).backward()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            own.step()

    async def main() -> None:
        await asyncio.gather(early(), late())

    asyncio.run(main())

    assert losses() == {"a": [1.0], "b": [5.0]}


def test_blocks_that_one_task_opens_for_others() -> None:
    """Tasks that are started inside the blocks record their own losses."""

    async def main() -> None:
        (first, a), (second, b) = optimizer(), optimizer()
        with block(a, "a"), block(b, "b"):
            await asyncio.gather(train(first, a, 0.0), train(second, b, 100.0))

    asyncio.run(main())

    assert losses() == {name: EXPECTED[name] for name in "ab"}


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_loop_whose_parts_are_tasks(blocks: int) -> None:
    """A server whose requests are tasks gets the loss of one request recorded by the next."""

    async def forward(weight: torch.nn.Parameter, value: float) -> None:
        (weight * 0.0 + value).backward()

    async def update(own: torch.optim.Optimizer) -> None:
        own.step()

    async def main() -> None:
        (first, a), (_, b) = optimizer(), optimizer()
        with block(a, "a"):
            if blocks == 2:
                with block(b, "b"):
                    await requests(first, a)
            else:
                await requests(first, a)

    async def requests(weight: torch.nn.Parameter, own: torch.optim.Optimizer) -> None:
        for step in range(STEPS):
            await asyncio.create_task(forward(weight, float(step)))
            await asyncio.create_task(update(own))

    asyncio.run(main())

    assert losses()["a"] == EXPECTED["a"]


def test_threads_of_a_loop() -> None:
    """Trainings that a loop runs in threads, which share its context, do not mix."""

    def run(weight: torch.nn.Parameter, own: torch.optim.Optimizer, first: float) -> None:
        asyncio.run(train(weight, own, first))

    async def main() -> None:
        (first, a), (second, b) = optimizer(), optimizer()
        with block(a, "a"), block(b, "b"):
            await asyncio.gather(
                asyncio.to_thread(run, first, a, 0.0), asyncio.to_thread(run, second, b, 100.0)
            )

    asyncio.run(main())

    assert losses() == {name: EXPECTED[name] for name in "ab"}


def test_an_exception_leaves_nothing_to_the_next_task() -> None:
    """A task that fails between `backward()` and `step()` does not disturb those after it."""

    async def failing() -> None:
        weight, own = optimizer()
        with block(own, "c"):
            await train(weight, own, 200.0)
            (weight * 7.0).backward()
            raise ValueError

    async def tracked() -> None:
        weight, own = optimizer()
        with block(own, "a"):
            await train(weight, own, 0.0)
            await train(weight, own, 0.0)

    async def main() -> None:
        await asyncio.gather(tracked(), failing(), return_exceptions=True)

    asyncio.run(main())

    assert losses() == {"a": 2 * EXPECTED["a"], "c": EXPECTED["c"]}


def test_one_block_in_a_loop_costs_nothing_more() -> None:
    """Notes are kept per thread while one block is open, and again once no block is."""

    async def main() -> list[type]:
        (_, a), (_, b) = optimizer(), optimizer()
        kinds = []
        with block(a, "a"):
            kinds.append(type(thread_state.own.notes))
            with block(b, "b"):
                kinds.append(type(thread_state.own.notes))
        with block(a, "c"):
            kinds.append(type(thread_state.own.notes))
        return kinds

    notes = thread_state.Notes
    assert asyncio.run(main()) == [notes, thread_state.TaskNotes, notes]


def test_several_optimizers_of_one_block_in_a_loop() -> None:
    """One block with several optimizers in a notebook's loop keeps its notes per thread."""

    async def main() -> type:
        (_, a), (_, b) = optimizer(), optimizer()
        with block(a, "a"):
            pass
        with lrtrack.track([a, b], tracker="local", experiment="x", name="b"):
            return type(thread_state.own.notes)

    assert asyncio.run(main()) is thread_state.Notes


def test_blocks_that_are_opened_before_the_loop() -> None:
    """Tasks of a loop that starts inside the blocks record their own losses, and so does what
    follows the loop.
    """
    (first, a), (second, b) = optimizer(), optimizer()

    async def main() -> None:
        await asyncio.gather(train(first, a, 0.0), train(second, b, 100.0))

    with block(a, "a"), block(b, "b"):
        asyncio.run(main())
        (first * 0.0 + 7.0).backward()
        a.step()

    assert losses() == {"a": [*EXPECTED["a"], 7.0], "b": EXPECTED["b"]}


@pytest.mark.parametrize("opened", ["in the tasks", "before the tasks", "before the loop"])
def test_tasks_of_trio(opened: str) -> None:
    """Tasks of trio's loop record their own losses, too."""
    (first, a), (second, b) = optimizer(), optimizer()

    async def trained(weight: torch.nn.Parameter, own: torch.optim.Optimizer, at: float) -> None:
        for step in range(STEPS):
            (weight * 0.0 + at + step).backward()
            await trio.sleep(0)
            own.step()

    async def tracked(weight: torch.nn.Parameter, own: Any, at: float, name: str) -> None:
        with block(own, name):
            await trained(weight, own, at)

    async def main(separate: bool) -> None:
        async with trio.open_nursery() as nursery:
            if separate:
                nursery.start_soon(tracked, first, a, 0.0, "a")
                nursery.start_soon(tracked, second, b, 100.0, "b")
            else:
                nursery.start_soon(trained, first, a, 0.0)
                nursery.start_soon(trained, second, b, 100.0)

    async def opening() -> None:
        with block(a, "a"), block(b, "b"):
            await main(separate=False)

    if opened == "before the loop":
        with block(a, "a"), block(b, "b"):
            trio.run(main, False)
    elif opened == "before the tasks":
        trio.run(opening)
    else:
        trio.run(main, True)

    assert losses() == {name: EXPECTED[name] for name in "ab"}
