"""Real journals, and the command as users call it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lrtrack.cli import main
from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State
from lrtrack.schedules import Schedule


@pytest.fixture
def journal(clean_place: Path) -> Callable[..., str]:
    """A function that journals one finished run in the working directory; its id."""

    def write(
        schedule: Schedule, losses: Sequence[float], seed: int = 0,
        more: Mapping[str, Sequence[float]] | None = None, **fields: Any,
    ) -> str:  # fmt: skip
        run_id = hashlib.md5(f"{schedule.id}-{seed}-{fields}".encode()).hexdigest()
        run = Run(
            **{"id": run_id, "name": f"{schedule.name}-{seed}", "experiment": "digits", **fields},
            schedule=schedule,
            seed=seed,
        )
        layout = Layout(clean_place / ".lrtrack")
        layout.create()
        writer = JournalWriter(layout.journal(run_id), run)
        for step, loss in enumerate(losses):
            own = {name: values[step] for name, values in (more or {}).items()}
            writer.append(step, 100.0 + step, {"loss": loss, "lr": 0.1, **own})
        writer.close(State.FINISHED)
        return run_id

    return write


@pytest.fixture
def lrtrack() -> Callable[..., Result]:
    """A function that runs `lrtrack` with arguments."""
    return lambda *arguments: CliRunner().invoke(main, list(arguments))


@pytest.fixture
def digits(journal: Callable[..., str]) -> None:
    """Two schedules by two seeds, in the experiment `digits`."""
    for seed in range(2):
        journal(Schedule("StepLR", {"step_size": 30}), [1.0, 0.5 + seed / 10], seed)
        journal(Schedule("constant"), [1.0, 0.8 + seed / 10], seed)
