"""Spikes equal their definition, and statistics do not depend on how records are batched."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lrtrack.records import History, Run, State
from lrtrack.schedules import Schedule
from lrtrack.stats.diagnose import RunningStatistics, diagnose
from lrtrack.stats.spikes import FACTOR, FEWEST, WINDOW, spike_ratios, spikes


def by_definition(norms: np.ndarray) -> np.ndarray:
    """Compute the ratios one norm at a time."""
    ratios, valid = np.zeros(norms.shape), [at for at, norm in enumerate(norms) if norm == norm]
    for order, at in enumerate(valid[FEWEST:], FEWEST):
        median = np.median(norms[valid[max(0, order - WINDOW) : order]])
        if 0.0 < median < math.inf and norms[at] > FACTOR * median:
            ratios[at] = norms[at] / median
    return ratios


@pytest.mark.parametrize("seed", range(8))
def test_spikes(seed: int) -> None:
    """With heavy tails, gaps, zeros and infinities, the result equals that of a plain loop."""
    random = np.random.default_rng(seed)
    norms = np.exp(random.normal(0, random.uniform(0.2, 2), 700))
    for value in (np.nan, 0.0, np.inf, 1e3):
        norms[random.random(700) < 0.02 * (seed % 4)] = value

    assert spike_ratios(norms).tolist() == by_definition(norms).tolist()
    assert spikes(norms).tolist() == (by_definition(norms) > 0).tolist()


@pytest.mark.parametrize("size", [0, 1, FEWEST, FEWEST + 1, WINDOW, WINDOW + 1])
def test_short_series(size: int) -> None:
    """The last norm of a short series is a spike if enough norms precede it."""
    norms = np.ones(size)
    norms[-1:] = 1e3

    assert spikes(norms).tolist() == [False] * (size - 1) + [size > FEWEST] * (size > 0)


def history(size: int) -> History:
    """Build a run with two groups, clipping, spikes, a rising cosine and NaN losses."""
    random = np.random.default_rng(0)
    lr = 0.1 * (1 + np.cos(np.pi * np.arange(size) / (size / 2))) / 2
    norms = np.exp(random.normal(0, 0.3, size))
    norms[[300, 500, 700]] *= 50
    loss = random.random(size)
    loss[[600, 601, 900]] = np.nan
    there = random.random(size) < 0.8
    metrics = {"p/lr": lr, "p/lr/0": lr, "p/lr/1": 2 * lr, "p/grad_norm": norms, "p/loss": loss,
               "p/grad_norm_preclip": np.where(there, 15 * norms, np.nan)}  # fmt: skip
    present = {name: np.ones(size, dtype=bool) for name in metrics}
    present["p/grad_norm_preclip"] = there
    schedule = Schedule("CosineAnnealingLR", {"T_max": size // 2, "eta_min": 0.0})
    run = Run("1" * 32, "r", schedule, prefix="p/")
    steps = np.arange(size, dtype=np.int64)
    return History(run, State.FINISHED, "local", steps, steps.astype(float), metrics, present)


@pytest.mark.parametrize("part", [1, 7, 250, 1000])
def test_part_by_part(part: int) -> None:
    """Records that arrive in parts give the same statistics as all records at once."""
    whole = history(1000)
    figures = RunningStatistics(whole.run.schedule, "p/")
    for at in range(0, 1000, part):
        here = slice(at, at + part)
        columns = {n: (v[here], whole.present[n][here]) for n, v in whole.metrics.items()}
        figures.add(whole.steps[here], columns)
    diagnoses = diagnose(whole.run, figures, whole.state)

    assert diagnoses == diagnose(whole.run, RunningStatistics.of(whole), whole.state)
    assert [diagnosis["code"] for diagnosis in diagnoses] == ["LR003", "LR006", "LR007", "LR009"]
    assert {diagnosis["prefix"] for diagnosis in diagnoses} == {"p/"}
    assert diagnoses[1]["message"].startswith("the loss is nan at step 600 and at 2 later steps; ")
