"""What came out of a comparison, in a sentence to send."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lrtrack.errors import clean
from lrtrack.reports.formatting import aligned, count, interval, mean_std, number, shortened, some
from lrtrack.stats import ComparisonResult, Mode, ScheduleSummary, Verdict

#: More schedules of one verdict are counted, not named.
_NAMED = 3
#: From here on a difference is a factor, no percentage.
_MOST_PERCENT = 1000.0

_Named = tuple[str, ScheduleSummary]


def headline(comparison: ComparisonResult, names: Sequence[str], decimals: int | None) -> str:
    """Say which schedule is best, and of which others the runs really tell it apart.

    Args:
        names: what the schedules are called here, best first.
        decimals: of all values of the metric; None: four significant digits each.
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
    said = f"{who} {has} the {word} final {metric}: {_figure(best, decimals)}"
    others = [pair for pair in named if pair[1] is not base]
    if base is best:
        pronoun = "it" if len(tied) == 1 or leads else "them"
        clauses = _clauses(others, base, comparison, pronoun)
        return "; ".join([said, *clauses]) + "."
    clauses = _clauses(others, base, comparison, "it")
    return f"{said}. Against the baseline {base_name}: {'; '.join(clauses) or 'no runs to tell'}."


def _nothing(comparison: ComparisonResult, metric: str) -> str:
    runs = sum(item.runs for item in comparison.schedules)
    diverged = sum(item.diverged for item in comparison.schedules)
    if diverged < runs:
        why = f"{diverged} of {count(runs, 'run')} diverged, the others lack it"
    else:
        why = "its only run diverged" if runs == 1 else f"all {runs} runs diverged"
    return f"No schedule has a usable final {metric}: {why}."


def _figure(item: ScheduleSummary, decimals: int | None) -> str:
    """`0.082 [0.079, 0.085], 3 seeds`: with the deviation where there is no interval."""
    if item.final.ci95 is None:
        value = mean_std(item.final, decimals)
    else:
        value = f"{aligned(item.final.mean, decimals)} {interval(item.final, decimals)}"
    known = None not in item.seeds and len(set(item.seeds)) == item.runs
    used = sum(value is not None for value in item.final.values)
    flaws = [
        *([f"{item.diverged} more diverged"] if item.diverged else []),
        *([f"{item.unfinished} not finished"] if item.unfinished else []),
    ]
    more = f" ({', '.join(flaws)})" if flaws else ""
    return f"{value}, {count(used, 'seed' if known else 'run')}{more}"


def _clauses(
    others: Sequence[_Named], base: ScheduleSummary, comparison: ComparisonResult, pronoun: str
) -> Iterator[str]:
    """What is said of `others` against `base`, one clause a verdict."""
    lost = [pair for pair in others if _lost(pair[1])]
    kinds: dict[Verdict, list[_Named]] = {}
    for pair in others:
        if pair not in lost:
            kinds.setdefault(pair[1].verdict, []).append(pair)
    for verdict in ("better", "indistinguishable", "worse"):
        found = kinds.get(verdict, [])
        if found and verdict == "indistinguishable":
            names = _group([name for name, _ in found])
            verb = "is" if len(found) == 1 else "are"
            yield f"{names} {verb} not distinguishable from {pronoun}"
        elif len(found) > _NAMED:
            most = max(item.p_vs_best or 0.0 for _, item in found)
            sign = "≤" if most >= 0.001 else "<"
            yield f"{len(found)} others are {verdict} (p {sign} {max(most, 0.001):.2g})"
        elif found:
            yield ", ".join(
                f"{name} is {_apart(item, base, comparison.mode, verdict)} ({_p(item)})"
                for name, item in found
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
    """How many runs of a schedule a test has to go by."""
    return item.diverged + sum(value is not None for value in item.final.values)


def _lost(item: ScheduleSummary) -> bool:
    """Whether divergence is what there is to say: no mean, or one that hides what went wrong."""
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
    """`12 % worse` where small values are good and above 0; `0.031 lower` where not.

    A percentage of an accuracy would be read as percentage points.
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
    """A few names, or how many there are."""
    if len(names) <= _NAMED:
        return some(names)
    return f"{which} {len(names)}" if which else f"{len(names)} others"
