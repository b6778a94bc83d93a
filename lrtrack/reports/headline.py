"""The result of a comparison in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lrtrack.errors import clean
from lrtrack.reports.formatting import aligned, count, interval, mean_std, number, shortened, some
from lrtrack.stats import ComparisonResult, Mode, ScheduleSummary, Verdict

#: The most schedules that are named; more with the same verdict are counted.
_NAMED = 3
#: From this percentage on, a difference is given as a factor.
_MOST_PERCENT = 1000.0

_Named = tuple[str, ScheduleSummary]


def headline(comparison: ComparisonResult, names: Sequence[str], decimals: int | None) -> str:
    """State which schedule is best, and from which others it differs significantly.

    Args:
        names: the short names of the schedules, best first.
        decimals: decimals of the metric's values; None: four significant digits each.
    """
    named = [
        (shortened(name), item) for name, item in zip(names, comparison.schedules, strict=True)
    ]
    (first, best), metric = named[0], clean(comparison.metric)
    if best.final.mean is None:
        return _nothing(comparison, metric)
    if len(named) == 1:
        return f"{first} ends at {metric} {_figure(best, decimals)}."
    tied = [name for name, item in named if item.rank == 1]
    if len(tied) == len(named):
        value = aligned(best.final.mean, decimals)
        return f"All {len(tied)} schedules tie at a final {metric} of {value}."
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
        clauses = _clauses(others, base, comparison, pronoun)
        return "; ".join([statement, *clauses]) + "."
    against = "; ".join(_clauses(others, base, comparison, "it")) or "no runs to compare"
    return f"{statement}. Against the baseline {base_name}: {against}."


def _nothing(comparison: ComparisonResult, metric: str) -> str:
    runs = sum(item.runs for item in comparison.schedules)
    diverged = sum(item.diverged for item in comparison.schedules)
    if diverged < runs:
        why = f"{diverged} of {count(runs, 'run')} diverged, the others lack it"
    else:
        why = "its only run diverged" if runs == 1 else f"all {runs} runs diverged"
    return f"No schedule has a usable final {metric}: {why}."


def _figure(item: ScheduleSummary, decimals: int | None) -> str:
    """`0.082 [0.079, 0.085], 3 seeds`, or with the deviation if there is no interval."""
    if item.final.ci95 is None:
        value = mean_std(item.final, decimals)
    else:
        value = f"{aligned(item.final.mean, decimals)} {interval(item.final, decimals)}"
    seeded = None not in item.seeds and len(set(item.seeds)) == item.runs
    used = sum(value is not None for value in item.final.values)
    flaws = [
        *([f"{item.diverged} more diverged"] if item.diverged else []),
        *([f"{item.unfinished} not finished"] if item.unfinished else []),
    ]
    more = f" ({', '.join(flaws)})" if flaws else ""
    return f"{value}, {count(used, 'seed' if seeded else 'run')}{more}"


def _clauses(
    others: Sequence[_Named], base: ScheduleSummary, comparison: ComparisonResult, pronoun: str
) -> Iterator[str]:
    """Compare `others` with `base`, one clause per verdict."""
    lost = [pair for pair in others if _lost(pair[1])]
    kinds: dict[Verdict, list[_Named]] = {}
    for pair in others:
        if pair not in lost:
            kinds.setdefault(pair[1].verdict, []).append(pair)
    for verdict in ("better", "indistinguishable", "worse"):
        named = kinds.get(verdict, [])
        if named and verdict == "indistinguishable":
            names = _group([name for name, _ in named])
            verb = "is" if len(named) == 1 else "are"
            yield f"{names} {verb} not distinguishable from {pronoun}"
        elif len(named) > _NAMED:
            most = max(item.p_vs_best or 0.0 for _, item in named)
            sign = "≤" if most >= 0.001 else "<"
            yield f"{len(named)} others are {verdict} (p {sign} {max(most, 0.001):.2g})"
        elif named:
            yield ", ".join(
                f"{name} is {_apart(item, base, comparison.mode, verdict)} ({_p(item)})"
                for name, item in named
            )
    if comparison.baseline is not None and (ties := kinds.get("tie")):
        yield f"{_group([name for name, _ in ties])} {'ties' if len(ties) == 1 else 'tie'} with it"
    if few := kinds.get("too-few-runs"):
        size = min(tested(base), *(tested(item) for _, item in few))
        whom = _group([name for name, _ in few], "the other" if len(few) == len(others) else "")
        verb = "is" if size == 1 else "are"
        yield f"{count(size, 'run')} {verb} too few to separate {whom} from {pronoun}"
    if lost:
        yield _diverged(lost)
    if lacking := [name for name, item in others if not tested(item)]:
        verb = "has" if len(lacking) == 1 else "have"
        yield f"{_group(lacking)} {verb} no {clean(comparison.metric)}"


def tested(item: ScheduleSummary) -> int:
    """The number of a schedule's runs that a test can use."""
    return item.diverged + sum(value is not None for value in item.final.values)


def _lost(item: ScheduleSummary) -> bool:
    """Whether to report only divergence: there is no mean, or the mean hides that runs diverged."""
    return bool(item.diverged) and (
        item.final.mean is None or item.verdict in ("better", "worse", "tie")
    )


def _diverged(lost: Sequence[_Named]) -> str:
    if len(lost) > _NAMED:
        return f"{len(lost)} others diverged"
    return ", ".join(f"{name} diverged{_how_often(item)}" for name, item in lost)


def _how_often(item: ScheduleSummary) -> str:
    if item.runs == 1:
        return ""
    all_of_them = item.diverged == item.runs
    return f" in {'all' if all_of_them else f'{item.diverged} of'} {item.runs} runs"


def _apart(item: ScheduleSummary, base: ScheduleSummary, mode: Mode, verdict: str) -> str:
    """`12 % worse` for metrics to minimize above 0; otherwise `0.031 lower`.

    A percentage of an accuracy would be mistaken for percentage points.
    """
    mean, other = item.final.mean or 0.0, base.final.mean or 0.0
    if base.final.mean is not None and mode == "min" and min(mean, other) > 0.0:
        percent = 100.0 * abs(mean - other) / other
        if percent < _MOST_PERCENT:
            return f"{number(percent, 2, trim=True)} % {verdict}"
        return f"{number(mean / other, 2, trim=True)} times as high"
    return f"{number(abs(mean - other), 3)} {'higher' if mean > other else 'lower'}"


def _p(item: ScheduleSummary) -> str:
    p = item.p_vs_best or 0.0
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _group(names: Sequence[str], which: str = "") -> str:
    """The names if there are few, otherwise their number."""
    if len(names) <= _NAMED:
        return some(names)
    return f"{which} {len(names)}" if which else f"{len(names)} others"
