"""At which step a scheduler had which count, stored in little memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrtrack.capture.pace import Pace, segments_from


def paced(moves: list[int]) -> tuple[Pace, list[int]]:
    """The pace of a scheduler, and its count at each step.

    Args:
        moves: by how much the count rises before each step but the first.
    """
    pace, counts = Pace(), [0]
    pace.begin(0, 0)
    moved_at = 0
    for step, by in enumerate(moves, 1):
        counts.append(counts[-1] + by)
        if not by:
            continue
        if by == 1 and moved_at == step - 1:
            moved_at = step  # the fast path of a capture, which calls nothing
            continue
        pace.rest(moved_at)
        pace.move(step, counts[-1])
        moved_at = step
    pace.rest(moved_at)
    return pace, counts


@given(st.lists(st.sampled_from([0, 0, 0, 1, 1, 1, 1, 2, 5]), max_size=60))
def test_the_first_step_of_a_count(moves: list[int]) -> None:
    """Each count is found at the first step that had it, or that had a later one."""
    pace, counts = paced(moves)
    for count in range(counts[-1] + 1):
        expected = next(step for step, at in enumerate(counts) if at >= count)
        assert pace.step_of(count) == expected


@given(st.lists(st.sampled_from([0, 1, 2]), max_size=40), st.integers(0, 40))
def test_what_is_known_of_abandoned_steps_is_void(moves: list[int], step: int) -> None:
    """After a return, counts before it are found as before, and later ones are not."""
    pace, counts = paced(moves)
    step = min(step, len(counts) - 1)
    pace.begin(step, counts[step])
    for count in range(counts[step] + 1):
        expected = next(at for at, own in enumerate(counts) if own >= count)
        assert pace.step_of(count) == expected
    assert pace.step_of(counts[step] + 1) is None


def test_a_regular_schedule_takes_one_segment() -> None:
    """A schedule that moves at each step, or once every 100, is one segment."""
    each, _ = paced([1] * 1000)
    epochs, _ = paced(([0] * 99 + [1]) * 20)

    assert each.segments == [[0, 0, 1, 1000]]
    assert epochs.segments == [[0, 0, 100, 2000]]
    assert epochs.step_of(7) == 700


@pytest.mark.parametrize(
    "data",
    [
        None,
        "x",
        [1],
        [[1, 2, 3]],
        [[0, 0, 0, 5]],
        [[5, 0, 1, 4]],
        [[0, 0, -1, 0]],
        [[0, 0, 1, 2.0]],
    ],
)
def test_segments_that_make_no_sense(data: object) -> None:
    """What a journal says is checked."""
    assert segments_from(data) == []


def test_segments_are_read_back() -> None:
    """Stored segments continue in another process."""
    pace, _ = paced([1] * 20)

    assert Pace(segments_from(pace.stored())).step_of(15) == 15
