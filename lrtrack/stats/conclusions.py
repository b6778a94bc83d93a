"""Conclusions about each schedule, compared with the best one or a baseline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from lrtrack.stats.effects import Effects
from lrtrack.stats.figures import Effect, Notice, Procedure, Verdict
from lrtrack.stats.intervals import Interval, intervals
from lrtrack.stats.ranking import Entry
from lrtrack.stats.samples import LEVEL, Improvement, Sample, improvement
from lrtrack.stats.spread_model import Model, fit
from lrtrack.stats.summary import Mode, finite

#: From this many schedules that could be the best on, its mean is marked as optimistic.
_MANY = 3


@dataclass(frozen=True)
class Standing:
    """The result of comparing one schedule's runs with those of the best or the baseline.

    The attributes are those of `ScheduleSummary`; `interval` is that of the mean.
    """

    interval: Interval
    effect: Effect | None
    could_be_best: bool
    seeds_to_tell: int | None
    improvement: Improvement | None
    verdict: Verdict
    optimistic: bool
    equivalent: bool | None


@dataclass(frozen=True)
class Conclusions:
    """What the comparison shows, schedule by schedule in the order of their ranks."""

    standings: tuple[Standing, ...]
    test: Procedure


def conclude(
    placed: Sequence[tuple[int, Entry]],
    baseline: int | None,
    mode: Mode,
    margin: float | None,
    sequential: bool,
) -> Conclusions:
    """Compare every entry with the one at `baseline`; None: with the best.

    Args:
        sequential: whether differences must stay valid however often one looks.
    """
    samples = [entry.sample for _, entry in placed]
    final = [entry.final.mean for _, entry in placed]
    model = fit(samples, mode)
    to_best = Effects(model, 0, chosen=False, final=final, sequential=sequential)
    effects = to_best
    if baseline is not None:
        effects = Effects(model, baseline, chosen=True, final=final, sequential=sequential)
    reference = baseline or 0
    could = [
        _could_be_best(placed[at][1], placed[0][1], to_best.of(at), mode)
        for at in range(len(placed))
    ]
    none = Sample((), ())
    standings = []
    for at, interval in enumerate(intervals(model, samples)):
        effect = effects.of(at)
        standings.append(
            Standing(
                interval=interval,
                effect=effect,
                could_be_best=could[at],
                seeds_to_tell=effects.seeds_to_tell(at),
                improvement=improvement(
                    none if at == reference else samples[at], samples[reference], mode
                ),
                verdict=_verdict(placed, at, baseline, effect, mode),
                optimistic=at == 0 and sum(could) >= _MANY,
                equivalent=None if margin is None else _within(effect, margin),
            )
        )
    return Conclusions(
        tuple(standings), _test(model, chosen=baseline is not None, sequential=sequential)
    )


def _verdict(
    placed: Sequence[tuple[int, Entry]],
    at: int,
    baseline: int | None,
    effect: Effect | None,
    mode: Mode,
) -> Verdict:
    (rank, entry), (base_rank, base) = placed[at], placed[baseline or 0]
    if at == (baseline or 0):
        return "best" if baseline is None else "baseline"
    if not (entry.sample.values and base.sample.values):
        return "none"
    if rank == base_rank:
        return "tie"
    if _mostly_diverged(entry) != _mostly_diverged(base):
        return "diverged" if _mostly_diverged(entry) else "better"
    if effect is None:
        return "too-few-runs"
    if effect.p >= LEVEL:
        return "indistinguishable"
    return "worse" if _is_worse(effect, mode) else "better"


def _could_be_best(entry: Entry, best: Entry, effect: Effect | None, mode: Mode) -> bool:
    if not entry.sample.values:
        return False
    if _mostly_diverged(entry):
        return _mostly_diverged(best)
    return effect is None or effect.p >= LEVEL or not _is_worse(effect, mode)


def _is_worse(effect: Effect, mode: Mode) -> bool:
    return effect.difference > 0.0 if mode == "min" else effect.difference < 0.0


def _mostly_diverged(entry: Entry) -> bool:
    return entry.median is not None and not math.isfinite(entry.median)


def _within(effect: Effect | None, margin: float) -> bool:
    return effect is not None and -margin <= effect.ci95[0] and effect.ci95[1] <= margin


def _test(model: Model, *, chosen: bool, sequential: bool) -> Procedure:
    compared = int((model.counts > 0).sum())
    name: Literal["tukey", "dunnett", "sequential"] | None
    if model.sigma is None or compared < 2:
        name = None
    elif sequential:
        name = "sequential"
    else:
        name = "dunnett" if chosen else "tukey"
    sigma = None if model.sigma is None else finite(model.sigma * model.unit)
    own = 0.0 if name is None else model.own_spread
    return Procedure(name, model.scale, model.seeds, sigma, model.df, own)


def few_runs(
    samples: Sequence[Sample], reference: int, conclusions: Conclusions, noun: str
) -> Iterator[Notice]:
    """Warn where differences cannot be judged, because runs show no spread, or not enough yet."""
    standings = conclusions.standings
    few = [at for at, standing in enumerate(standings) if standing.verdict == "too-few-runs"]
    if not few:
        return
    others = len(samples) - 1
    part = "" if len(few) == others else f" for {len(few)} of {others} {noun}s"
    size = min(samples[at].ended.size for at in (reference, *few))
    if size < 2:
        yield Notice(
            "too-few-runs",
            f"Single runs cannot be compared{part}: the spread between runs is unknown. Fix: "
            f"run every {noun} with at least 3 seeds.",
        )
    elif conclusions.test.name == "sequential":
        yield Notice(
            "too-few-runs",
            f"{size} runs are too few for a comparison that stays valid however often you look"
            f"{part}: no difference could be shown yet. Fix: add seeds.",
        )
    else:
        yield Notice(
            "no-spread",
            f"The runs of each {noun} end at the same value{part}, so there is no spread by which "
            "to judge a difference. Fix: check that the seed has an effect.",
        )
