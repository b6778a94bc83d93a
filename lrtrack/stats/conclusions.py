"""Conclusions about each schedule, compared with the best one or a baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lrtrack.stats.ranking import Entry
from lrtrack.stats.result import Notice, Verdict
from lrtrack.stats.significance import (
    LEVEL,
    Sample,
    attainable,
    fewest_p,
    holm,
    leans_better,
    p_improvement,
    p_value,
    paired,
)
from lrtrack.stats.summary import Mode


class Standing(NamedTuple):
    """The result of comparing one schedule's runs with those of the best or the baseline."""

    p: float | None
    p_improvement: float | None
    verdict: Verdict


def against_reference(
    placed: Sequence[tuple[int, Entry]], reference: int, mode: Mode, *, chosen: bool
) -> list[Standing]:
    """Test every entry against the one at `reference`: the chosen baseline, else the best."""
    ranks, samples = [rank for rank, _ in placed], [entry.sample for _, entry in placed]
    base = samples[reference]
    others = [sample if at != reference else Sample((), ()) for at, sample in enumerate(samples)]
    p_values = holm([p_value(base, sample, mode) for sample in others])
    least = attainable(samples, reference)
    standings = []
    for at, sample in enumerate(samples):
        p, reachable = p_values[at], least[at]
        verdict: Verdict
        if at == reference:
            verdict = "baseline" if chosen else "best"
        elif not (sample.values and base.values):
            verdict = "none"
        elif ranks[at] == ranks[reference]:
            verdict = "tie"
        elif p is None or reachable is None or reachable >= LEVEL:
            verdict = "too-few-runs"
        elif p >= LEVEL:
            verdict = "indistinguishable"
        else:
            verdict = "better" if leans_better(sample, base, mode) else "worse"
        standings.append(Standing(p, p_improvement(others[at], base, mode), verdict))
    return standings


def few_runs(
    samples: Sequence[Sample], reference: int, standings: Sequence[Standing]
) -> Iterator[Notice]:
    """Warn if no outcome could have been significant, and say how many runs are enough."""
    few = [at for at, standing in enumerate(standings) if standing.verdict == "too-few-runs"]
    if not few:
        return
    base, others = samples[reference], len(samples) - 1
    tests = sum(p is not None for p in attainable(samples, reference)) or others
    matched = all(paired(base, samples[at]) for at in few)
    needed = next(n for n in range(2, 64) if tests * fewest_p(n, n, matched=matched) < LEVEL)
    size = min(len(base.values), *(len(samples[at].values) for at in few))
    part = "" if len(few) == others else f" for {len(few)} of {others} schedules"
    yield Notice(
        "too-few-runs",
        f"Too few runs to separate schedules (n={size}){part}: with this many, the test cannot "
        f"reach p < {LEVEL} ({'paired by seed' if matched else 'unpaired'}, Holm-corrected for "
        f"{tests} comparison{'s' * (tests > 1)}). Fix: use at least {needed} runs per schedule.",
    )
