"""The result of a comparison in one sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from lrtrack.errors import clean
from lrtrack.reports.formatting import (
    aligned,
    count,
    difference,
    interval,
    mean_std,
    number,
    shortened,
    some,
)
from lrtrack.stats import ComparisonResult, ScheduleSummary, Verdict

#: The most schedules that are named; more with the same verdict are counted.
_NAMED = 3
#: More seeds than this are not recommended: the difference is then as good as none.
_MOST_SEEDS = 1000

_Named = tuple[str, ScheduleSummary]


def headline(comparison: ComparisonResult, names: Sequence[str], decimals: int | None) -> str:
    """State which schedule is best, which may be as good, and which are worse by how much.

    Args:
        names: the short names of the schedules, in their order.
        decimals: decimals of the metric's values; None: four significant digits each.
    """
    named = [
        (shortened(name), item) for name, item in zip(names, comparison.schedules, strict=True)
    ]
    named.sort(key=lambda pair: pair[1].rank)  # the rows may have another order
    (first, best), metric = named[0], metric_of(comparison)
    if best.final.mean is None:
        return _nothing(comparison, metric)
    if len(named) == 1:
        return f"{first} ends at {metric} {_figure(best, decimals)}."
    tied = [name for name, item in named if item.rank == 1]
    if len(tied) == len(named):
        value = aligned(best.final.mean, decimals)
        return f"All {len(tied)} {comparison.noun}s tie at a final {metric} of {value}."
    base_name, base = next(
        (pair for pair in named if pair[1].label == comparison.baseline), named[0]
    )
    leads = comparison.baseline is not None and base is best
    who = f"{first}, the baseline," if leads else _group(tied)
    has = "has" if len(tied) == 1 or leads else "tie for"
    word = "lowest" if comparison.mode == "min" else "highest"
    statement = f"{who} {has} the {word} final {metric}: {_figure(best, decimals)}"
    others = [pair for pair in named if pair[1] is not base]
    if base is best:
        pronoun = "it" if len(tied) == 1 or leads else "them"
        return "; ".join([statement, *_clauses(others, comparison, pronoun)]) + "."
    against = "; ".join(_clauses(others, comparison, "it")) or "no runs to compare"
    return f"{statement}. Against the baseline {base_name}: {against}."


def metric_of(comparison: ComparisonResult) -> str:
    """The metric, or what its score over several tasks is relative to."""
    metric = clean(comparison.metric)
    if comparison.task is None:
        return metric
    return f"{metric} over {len(comparison.schedules[0].tasks)} tasks, relative to the best of each"


def _nothing(comparison: ComparisonResult, metric: str) -> str:
    runs = sum(item.runs for item in comparison.schedules)
    diverged = sum(item.diverged for item in comparison.schedules)
    going = sum(run.unfinished and not run.diverged for run in comparison.runs)
    if diverged == runs:
        why = "its only run diverged" if runs == 1 else f"all {runs} runs diverged"
        return f"No {comparison.noun} has a usable final {metric}: {why}."
    parts = [
        *([f"{diverged} of {count(runs, 'run')} diverged"] if diverged else []),
        *([f"{going} of {count(runs, 'run')} {'has' if going == 1 else 'have'} not finished"]
          if going else []),
        *(["the others lack it"] if diverged + going < runs else []),
    ]  # fmt: skip
    hint = " Fix: count unfinished runs with --include-unfinished." if going else ""
    return f"No {comparison.noun} has a usable final {metric}: {', '.join(parts)}.{hint}"


def _figure(item: ScheduleSummary, decimals: int | None) -> str:
    """`0.082 [0.079, 0.085], 3 seeds`, or with the deviation if there is no interval."""
    if item.final.ci95 is None:
        value = mean_std(item.final, decimals)
    else:
        value = f"{aligned(item.final.mean, decimals)} {interval(item.final, decimals)}"
    used = sum(value is not None for value in item.final.values)
    flaws = [
        *([f"diverged in {item.diverged} of {item.runs}"] if item.diverged else []),
        *([f"{item.unfinished} not finished"] if item.unfinished else []),
    ]
    more = f" ({', '.join(flaws)})" if flaws else ""
    return f"{value}, {count(used, 'seed' if _seeded(item) else 'run')}{more}"


def _clauses(others: Sequence[_Named], comparison: ComparisonResult, pronoun: str) -> Iterator[str]:
    """Compare `others` with the best or the baseline, one clause per verdict."""
    kinds: dict[Verdict, list[_Named]] = {}
    for pair in others:
        kinds.setdefault(pair[1].verdict, []).append(pair)
    based = comparison.baseline is not None
    yield from _apart(kinds.get("better", []), "better")
    yield from _alike(kinds.get("indistinguishable", []), comparison.margin)
    yield from _apart(kinds.get("worse", []), "worse")
    if based and (ties := kinds.get("tie")):
        yield f"{_group([name for name, _ in ties])} {'ties' if len(ties) == 1 else 'tie'} with it"
    if few := kinds.get("too-few-runs"):
        whom = _group([name for name, _ in few], "the other" if len(few) == len(others) else "")
        yield f"{_lack_of_spread([item for _, item in few], comparison)} {whom} from {pronoun}"
    yield from _diverged([pair for pair in others if pair[1].diverged])
    lacking = [pair for pair in others if not tested(pair[1])]
    yield from _lacking(lacking, clean(comparison.metric))
    yield from _resolved([item for _, item in kinds.get("indistinguishable", [])], comparison)


def _apart(named: Sequence[_Named], word: str) -> Iterator[str]:
    """`StepLR is worse by 0.063 [0.051, 0.075]`, or the smallest of several differences."""
    sizes = [(abs(item.vs_best.difference), name, item) for name, item in named if item.vs_best]
    if len(named) > _NAMED:
        least = min(sizes, default=None)
        effect = least[2].vs_best if least else None
        by = f" by {difference(effect, sign=False)[0]} or more" if effect else ""
        yield f"{len(named)} others are {word}{by}"
    elif sizes:
        texts = [
            f"{name} is {word} by {' '.join(difference(item.vs_best, sign=False))}"
            for _, name, item in sizes
            if item.vs_best is not None
        ]
        yield ", ".join(texts)
    elif named:
        yield f"{some([name for name, _ in named])} {'is' if len(named) == 1 else 'are'} {word}"


def _alike(named: Sequence[_Named], margin: float | None) -> Iterator[str]:
    """`CyclicLR (−0.005 [−0.012, 0.003]) and 4 others may be as good`."""
    equivalent = [name for name, item in named if item.equivalent]
    if equivalent:
        verb = "is" if len(equivalent) == 1 else "are"
        yield f"{_group(equivalent)} {verb} equivalent within {number(margin, trim=True)}"
    rest = [pair for pair in named if not pair[1].equivalent]
    if not rest:
        return
    name, item = rest[0]
    nearest = f"{name} ({' '.join(difference(item.vs_best))})" if item.vs_best else name
    if len(rest) > _NAMED:
        yield f"{nearest} and {len(rest) - 1} others may be as good"
    else:
        yield f"{some([nearest, *(other for other, _ in rest[1:])])} may be as good"


def _lack_of_spread(few: Sequence[ScheduleSummary], comparison: ComparisonResult) -> str:
    """Why differences cannot be judged: there is but one run, or runs do not differ."""
    if any(item.code == "no-spread" for item in comparison.warnings):
        return "runs that do not differ cannot separate"
    size = min(map(tested, few))
    return f"{count(size, 'run')} {'is' if size == 1 else 'are'} too few to separate"


def tested(item: ScheduleSummary) -> int:
    """The number of a schedule's runs that a comparison can use."""
    return item.diverged + sum(value is not None for value in item.final.values)


def _diverged(lost: Sequence[_Named]) -> Iterator[str]:
    if len(lost) > _NAMED:
        every = all(item.diverged == item.runs for _, item in lost)
        yield f"{len(lost)} others diverged{'' if every else ' in some runs'}"
    elif lost:
        yield ", ".join(f"{name} diverged{_how_often(item)}" for name, item in lost)


def _how_often(item: ScheduleSummary) -> str:
    if item.runs == 1:
        return ""
    all_of_them = item.diverged == item.runs
    return f" in {'all' if all_of_them else f'{item.diverged} of'} {item.runs} runs"


def _lacking(lacking: Sequence[_Named], metric: str) -> Iterator[str]:
    """Schedules without a final value: they have not finished, or have no such metric."""
    for going in (True, False):
        names = [name for name, item in lacking if bool(item.unfinished) is going]
        if names:
            verb = "has" if len(names) == 1 else "have"
            yield f"{_group(names)} {verb} {'no finished run' if going else f'no {metric}'}"


def _resolved(alike: Sequence[ScheduleSummary], comparison: ComparisonResult) -> Iterator[str]:
    """How many more seeds would show the difference to the nearest schedule, or the next best."""
    wanted = [item for item in alike if item.seeds_to_tell is not None and not item.equivalent]
    feasible = [item for item in wanted if (item.seeds_to_tell or math.inf) <= _MOST_SEEDS]
    if not feasible:
        return
    item = feasible[0]
    base = next(x for x in comparison.schedules if x.verdict in ("best", "baseline"))
    have = min(sum(v is not None for v in x.final.values) for x in (item, base))
    more = (item.seeds_to_tell or 0) - have
    if more > 0 and item.vs_best is not None:
        size = difference(item.vs_best, sign=False)[0]
        seeded = comparison.task is None and _seeded(item) and _seeded(base)
        runs = count(more, "more seed") if seeded else f"{count(more, 'more run')} of each"
        yield f"{runs} would resolve a difference of {size}"


def _seeded(item: ScheduleSummary) -> bool:
    """Whether each run has a seed of its own."""
    return None not in item.seeds and len(set(item.seeds)) == item.runs


def _group(names: Sequence[str], which: str = "") -> str:
    """The names if there are few, otherwise their number."""
    if len(names) <= _NAMED:
        return some(names)
    return f"{which} {len(names)}" if which else f"{len(names)} others"
