"""Reads back what arrived in each tracker and compares it with the true values of the loop."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: The stored points of a metric: step and value.
Points = list[tuple[int, float]]


@dataclass
class Arrived:
    """A run as stored by a tracker.

    Attributes:
        series: metric → points.
        words: params, tags and settings.
        state: the status the tracker reports; empty if it reports none.
        machine: whether the tracker records the machine's devices by itself.
        histograms: whether there are histograms of gradients.
    """

    series: dict[str, Points] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    state: str = ""
    machine: bool = False
    histograms: bool = False


def from_mlflow(uri: str) -> Arrived:
    """Reads the only run of the store."""
    import mlflow

    client = mlflow.MlflowClient(uri)
    experiments = [each.experiment_id for each in client.search_experiments()]
    (run,) = client.search_runs(experiments)
    found = Arrived(words={**run.data.params, **run.data.tags}, state=run.info.status)
    for name in run.data.metrics:
        points = client.get_metric_history(run.info.run_id, name)
        found.series[name] = [(point.step, point.value) for point in points]
    return found


def from_wandb(run: Any) -> Arrived:
    """Reads a run of the server in `tests/wandb_loopback`."""
    found = Arrived(words={name: str(value) for name, value in run.config.items()})
    found.machine = "wandb-metadata.json" in run.files or bool(run.host)
    for row in run.history:
        for name, value in row.items():
            if isinstance(value, int | float) and not name.startswith("_"):
                found.series.setdefault(name, []).append((row["_step"], value))
            found.histograms |= name.startswith("gradients/")
    return found


def from_dvclive(folder: Path) -> Arrived:
    """Reads what DVCLive wrote below `folder`."""
    found, plots = Arrived(), folder / "plots" / "metrics"
    for path in sorted(plots.rglob("*.tsv")):
        with path.open(newline="") as lines:
            _, *rows = csv.reader(lines, delimiter="\t")
        name = path.relative_to(plots).with_suffix("").as_posix()
        found.series[name] = [(int(step), float(value)) for step, value in rows]
    parameters = folder / "params.yaml"
    found.words = {"params.yaml": parameters.read_text()} if parameters.exists() else {}
    return found


def first_step(points: Points, steps: int) -> int:
    """Returns the number, 0 or 1, that a complete run of so many steps counts from."""
    return int(max((step for step, _ in points), default=0) >= steps)


def steps_right(points: Points, truth: Sequence[float], first: int | None = None) -> int:
    """Counts optimizer steps with the true value; the last of several values at a step counts."""
    first = first_step(points, len(truth)) if first is None else first
    last = {step - first: value for step, value in points}
    return sum(_close(last.get(step), value) for step, value in enumerate(truth))


def verdict(points: Points, truth: Mapping[str, Sequence[float]], name: str) -> str:
    """Says whether the steps have the true values of `name`, or which others."""
    if not points:
        return "–"
    expected = truth[name]
    if (right := steps_right(points, expected)) == len(expected):
        return "each step"
    if right > len(expected) / 2:
        return f"{right} of {len(expected)}"
    if steps_right(points, [*expected[1:], math.nan]) >= len(expected) - 1:
        return "shifted by one"
    batches, k = truth["batches"], len(truth["batches"]) // len(expected)
    if name == "loss" and steps_right(points, batches[k - 1 :: k]) >= len(expected) - 1:
        return "last batch’s"
    values = [value for _, value in points]
    if name == "loss" and len(values) == len(batches) and all(map(_close, values, batches)):
        return "each batch’s"
    print(f"{name}: {points[:8]} is not {expected[:4]}", file=sys.stderr)
    return "others"


def _close(found: float | None, expected: float) -> bool:
    # transformers rounds to 4 digits.
    return found is not None and math.isclose(found, expected, rel_tol=1e-4, abs_tol=6e-5)
