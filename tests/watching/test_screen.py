"""How running trainings look on a terminal and in a pipe."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lrtrack.records import State
from lrtrack.reports.live import LiveRun
from lrtrack.reports.live.lines import changes
from lrtrack.reports.live.live_run import duration
from lrtrack.reports.live.screen import Screen, lines_of

STEPS = np.arange(100.0)
RUN = LiveRun(
    id="a",
    name="one",
    label="StepLR(step_size=30)",
    step=99,
    total_steps=1000,
    time=50.0,
    steps_per_second=2.0,
    latest={"lr": 0.01, "loss": 0.5, "grad_norm": 1.25},
    series={"lr": (STEPS, 0.1 - STEPS / 1000), "loss": (STEPS, 1 / (1 + STEPS))},
)
FOUND = {"code": "LR006", "message": "the loss is nan from step 6 on.", "hint": "lower the rate"}


def shown(*runs: LiveRun, **options: object) -> list[str]:
    """The lines of a screen of 80 × 24 characters."""
    screen = replace(Screen(80, 24, "loss", now=51.0), **options)  # type: ignore[arg-type]
    return [line.plain for line in lines_of(runs, screen)]


def test_a_run_on_the_screen() -> None:
    """Place, remaining time, two charts of one width, and what else is known."""
    lines = shown(RUN)

    assert lines[0] == "lrtrack watch: 1 running"
    assert lines[2].startswith("one  StepLR(step_size=30)")
    assert lines[2].endswith("step 99 of 1,000 (10 %), 8 min left")
    assert len(lines[2]) == 80
    assert lines[6] == f"{'lr 0.01 (0.001 to 0.1)':<42}loss 0.5 (0.01 to 1, log)"
    assert lines[7] == "gradient norm 1.25, 2 steps/s"


@pytest.mark.parametrize("runs", [0, 1, 7])
@pytest.mark.parametrize("size", [(80, 24), (40, 8), (20, 3), (120, 60)])
def test_it_never_exceeds_the_terminal(runs: int, size: tuple[int, int]) -> None:
    """Whatever there is to show, it has no more columns and lines than the terminal."""
    many = [replace(RUN, id=str(at), diagnoses=(FOUND,) * 3) for at in range(runs)]
    lines = shown(*many, width=size[0], height=size[1], keys="q quit", trouble="no server")

    assert len(lines) <= size[1]
    assert max(map(len, lines)) <= size[0]


def test_without_unicode() -> None:
    """On a terminal that has only ASCII, charts and signs are ASCII."""
    lines = shown(replace(RUN, label="é" * 90), unicode=False, dotted=False)

    assert all(line.isascii() for line in lines)
    assert "*" in lines[3]


def test_a_training_that_rests() -> None:
    """A training without new steps for a while says so; a slow one does not."""
    slow = replace(RUN, steps_per_second=0.001)

    assert "no step for 2 min" in shown(RUN, now=170.0)[7]
    assert "no step" not in shown(slow, now=170.0)[7]


def test_changes_in_lines() -> None:
    """A run that appears, a diagnosis, progress if wanted, and the end are one line each."""
    later = replace(RUN, step=199, diagnoses=(FOUND,))
    ended = replace(later, state=State.FAILED)
    before = {"a": RUN}

    assert list(changes({}, [RUN], "loss", progress=True)) == [
        "one: StepLR(step_size=30), step 99 of 1,000 (10 %)"
    ]
    assert list(changes(before, [later], "loss", progress=True)) == [
        "one: LR006: the loss is nan from step 6 on. Fix: lower the rate.",
        "one: step 199 of 1,000 (20 %), lr 0.01, loss 0.5, 2 steps/s, 7 min left",
    ]
    assert list(changes({"a": later}, [later], "loss", progress=True)) == []
    assert list(changes({"a": later}, [ended], "loss", progress=False)) == [
        "one: failed at step 199 of 1,000 (20 %), lr 0.01, loss 0.5"
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5940, "99 min"), (7500, "2 h 05 min"),
     (363600, "4 d 5 h"), (float("nan"), "")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    """Durations are in the units that people use for them."""
    assert duration(seconds) == text
