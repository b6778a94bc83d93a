"""Points as the arrays of a `History`, and as the columnar file of a run."""

from pathlib import Path
from typing import Any

import numpy as np

from lrtrack.trackers import history_table
from lrtrack_tensorboard.events import Point


def arrays(points: list[Point]) -> dict[str, Any]:
    """The arrays of a `History`: one row a step, later values in the place of earlier ones."""
    times: dict[int, float] = {}
    metrics: dict[str, dict[int, float]] = {}
    for name, step, text, when in points:
        times.setdefault(step, when)
        metrics.setdefault(name, {})[step] = float(text)
    steps = sorted(times)
    return {
        "steps": np.array(steps, np.int64),
        "times": np.array([times[step] for step in steps], np.float64),
        "metrics": {
            name: np.array([values.get(step, np.nan) for step in steps], np.float64)
            for name, values in metrics.items()
        },
        "present": {
            name: np.array([step in values for step in steps], bool)
            for name, values in metrics.items()
        },
    }


def write(points: list[Point], path: Path) -> None:
    """Write the columnar file of a whole run."""
    history_table.write_parquet(history_table.table_of(arrays(points)), path)


def store(path: Path, folder: Path) -> None:
    """Copy a columnar file into a run's folder, whole or not at all."""
    draft = folder / f"{history_table.NAME}.new"
    draft.write_bytes(path.read_bytes())
    draft.replace(folder / history_table.NAME)
